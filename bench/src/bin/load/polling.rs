//! Clients over HTTP long-polling. Each has a connection for its polls and, if it sends events, one for its
//! POSTs.

use std::collections::VecDeque;

use anyhow::{Context as _, bail, ensure};
use bench::job::{Job, Kind};

use crate::{
    http,
    memory::resident,
    meter::nanoseconds,
    net::{Actor, Net},
    pace::Pacer,
    payload::event_argument,
};

/// The number of concurrent handshakes.
const AT_ONCE: usize = 64;
const SETTLE: f64 = 0.3;
/// Seconds to wait before the memory is measured.
const REST: f64 = 1.0;
/// The separator between packets in the body of a poll.
const SEPARATOR: char = '\x1e';
const UNUSED: usize = usize::MAX;

/// Clients that echo events, or that only keep a poll pending while the server's memory is measured.
pub(crate) struct Polling {
    clients: Vec<Client>,
    /// The client of each connection.
    owners: Vec<usize>,
    wanted: usize,
    ready: usize,
    start_at: u64,
    started: bool,
    echoes: bool,
    pace: Option<Pacer>,
    event: String,
    port: u16,
    pid: i32,
    memory_at_first: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Opening,
    Connecting,
    Connected,
    Ready,
}

struct Client {
    state: State,
    sid: String,
    poll: usize,
    post: usize,
    /// The request of a poll. `say` is the request of a POST with an event.
    get: Vec<u8>,
    say: Vec<u8>,
    /// Start times, or due times, of events that have not been sent yet.
    waiting: VecDeque<u64>,
    /// The start time of the event whose echo is pending.
    in_flight: Option<u64>,
    posting: bool,
    /// The server has sent a ping. The next POST contains the pong.
    pinged: bool,
}

impl Polling {
    pub(crate) fn new(job: &Job) -> anyhow::Result<Self> {
        Ok(Self {
            clients: Vec::new(),
            owners: Vec::new(),
            wanted: job.connections,
            ready: 0,
            start_at: u64::MAX,
            started: false,
            echoes: job.kind == Kind::Polling,
            pace: job.rate.map(Pacer::new),
            event: format!(r#"42["echo",{}]"#, event_argument(100)),
            port: job.port,
            pid: job.pid,
            memory_at_first: resident(job.pid)?,
        })
    }

    fn open(&mut self, net: &mut Net, client: usize) -> anyhow::Result<usize> {
        let id = net.open()?;
        debug_assert_eq!(id, self.owners.len());
        self.owners.push(client);
        Ok(id)
    }

    fn ready(&mut self, net: &Net, client: usize) {
        self.clients[client].state = State::Ready;
        self.ready += 1;
        if self.ready == self.wanted {
            self.start_at = net.now() + nanoseconds(if self.echoes { SETTLE } else { REST });
        }
    }

    /// Advances the handshake. All its requests use one connection, until the first poll is pending.
    fn handshake(&mut self, net: &mut Net, id: usize, body: &str) -> anyhow::Result<()> {
        let number = self.owners[id];
        let client = &mut self.clients[number];
        match client.state {
            State::Opening => {
                client.sid = http::sid(body)?;
                client.get = http::get(self.port, Some(&client.sid));
                client.say = http::post(self.port, &client.sid, &self.event);
                client.state = State::Connecting;
                net.send(id, &http::post(self.port, &client.sid, "40"));
            }
            State::Connecting => {
                ensure!(body.eq_ignore_ascii_case("ok"), "a post was answered with {body}");
                client.state = State::Connected;
                net.send(id, &client.get);
            }
            _ => {
                client.pinged |= body.split(SEPARATOR).any(|packet| packet == "2");
                net.send(id, &client.get);
                if body.split(SEPARATOR).any(|packet| packet.starts_with("40{")) {
                    if self.echoes {
                        self.clients[number].post = self.open(net, number)?;
                    } else {
                        self.ready(net, number);
                    }
                }
            }
        }
        Ok(())
    }

    fn say(&mut self, net: &mut Net, number: usize) {
        let client = &mut self.clients[number];
        if client.posting || client.in_flight.is_some() {
            return;
        }
        let Some(began) = client.waiting.pop_front() else { return };
        client.in_flight = Some(began);
        client.posting = true;
        if client.pinged {
            client.pinged = false;
            net.send(
                client.post,
                &http::post(self.port, &client.sid, &format!("3{SEPARATOR}{}", self.event)),
            );
        } else {
            net.send(client.post, &client.say);
        }
    }

    fn polled(&mut self, net: &mut Net, number: usize, body: &str) -> anyhow::Result<()> {
        let client = &mut self.clients[number];
        net.send(client.poll, &client.get);
        for packet in body.split(SEPARATOR) {
            if packet == "2" {
                client.pinged = true;
            } else if packet == self.event {
                let began = client.in_flight.take().context("an echo of nothing")?;
                net.meter.operation(began, net.now());
                if self.pace.is_none() && !net.over {
                    client.waiting.push_back(net.now());
                }
            } else {
                bail!("a poll brought {packet}");
            }
        }
        Ok(())
    }

    fn start(&mut self, net: &mut Net) -> anyhow::Result<()> {
        self.started = true;
        if !self.echoes {
            net.meter.start()?;
            net.meter.operations(self.wanted as u64);
            let bytes = (resident(self.pid)? - self.memory_at_first) / self.wanted as f64;
            net.meter.extra.insert("poll".into(), bytes);
            return net.meter.stop();
        }
        let now = net.now();
        if let Some(pace) = &mut self.pace {
            pace.start(now);
        } else {
            for client in 0..self.wanted {
                self.clients[client].waiting.push_back(now);
                self.say(net, client);
            }
        }
        net.meter.warm_up(now);
        Ok(())
    }
}

impl Actor for Polling {
    fn connected(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()> {
        if self.clients[self.owners[id]].poll == id {
            net.send(id, &http::get(self.port, None));
        } else {
            self.ready(net, self.owners[id]);
        }
        Ok(())
    }

    fn received(&mut self, net: &mut Net, id: usize, bytes: &[u8]) -> anyhow::Result<usize> {
        let Some((body, length)) = http::answer(bytes)? else { return Ok(0) };
        let number = self.owners[id];
        let client = &mut self.clients[number];
        if id == client.post {
            ensure!(body.eq_ignore_ascii_case("ok"), "a post was answered with {body}");
            client.posting = false;
        } else if self.started && self.echoes {
            self.polled(net, number, body)?;
        } else if client.state == State::Ready {
            ensure!(body == "2", "a poll brought {body}");
            client.pinged = true;
            net.send(id, &client.get);
        } else {
            self.handshake(net, id, body)?;
        }
        self.say(net, number);
        Ok(length)
    }

    fn closed(&mut self, _net: &mut Net, id: usize) -> anyhow::Result<()> {
        bail!("the server closed a connection of client {}", self.owners[id])
    }

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        while self.clients.len() < self.wanted && self.clients.len() - self.ready < AT_ONCE {
            let poll = self.open(net, self.clients.len())?;
            self.clients.push(Client {
                state: State::Opening,
                sid: String::new(),
                poll,
                post: UNUSED,
                get: Vec::new(),
                say: Vec::new(),
                waiting: VecDeque::new(),
                in_flight: None,
                posting: false,
                pinged: false,
            });
        }
        if !self.started && net.now() >= self.start_at {
            self.start(net)?;
        }
        while self.started
            && !net.over
            && let Some(pace) = &mut self.pace
            && let Some((number, time)) = pace.due(net.now())
        {
            let client = number % self.wanted;
            self.clients[client].waiting.push_back(time);
            self.say(net, client);
        }
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.clients.iter().all(|client| client.in_flight.is_none())
    }
}
