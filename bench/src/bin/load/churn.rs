//! Complete life cycles of clients, over WebSocket only or with polling and an upgrade.

use std::collections::VecDeque;

use anyhow::{Context as _, bail, ensure};
use bench::{
    frame::{self, CLOSE, TEXT},
    job::{Job, Kind},
};

use crate::{
    disconnect::close_frame,
    http,
    net::{Actor, Net},
    pace::Pacer,
};

const SEPARATOR: char = '\x1e';

/// A fixed number of concurrent life cycles. The next one starts when one ends, or when the pacer says so.
pub(crate) struct Churn {
    lives: Vec<Life>,
    /// Slots without a running life cycle.
    idle: Vec<usize>,
    /// Due times of life cycles that could not start yet.
    waiting: VecDeque<u64>,
    /// The life cycle that each connection belongs to.
    owners: Vec<usize>,
    upgrades: bool,
    started: bool,
    pace: Option<Pacer>,
    port: u16,
    frames: Frames,
}

struct Life {
    stage: Stage,
    began: u64,
    /// The connection for polls, which is closed after the upgrade.
    poll: Option<usize>,
    websocket: Option<usize>,
    sid: String,
    /// The poll that was pending at the time of the probe has completed.
    released: bool,
    /// The server has responded to the probe.
    probed: bool,
    /// The server has sent a ping in the response to a poll.
    pinged: bool,
}

/// The event that a life cycle waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The open packet in the response to a poll.
    PollOpen,
    /// The response to the POST with the CONNECT packet.
    PollPost,
    /// The CONNECT packet of the server in the response to a poll.
    PollConnect,
    /// The response to the POST with a pong.
    PollPong,
    /// The response to the WebSocket handshake.
    Upgrade,
    /// The open packet.
    Open,
    /// The CONNECT packet of the server.
    Connect,
    /// The response to the probe, and the completion of the pending poll.
    Probe,
    /// The echo.
    Echo,
    /// The end of the connection.
    Close,
}

struct Frames {
    connect: Vec<u8>,
    probe: Vec<u8>,
    upgrade: Vec<u8>,
    echo: Vec<u8>,
    pong: Vec<u8>,
    close: Vec<u8>,
}

const ECHO: &str = r#"42["echo",1]"#;

impl Churn {
    pub(crate) fn new(job: &Job) -> Self {
        let life = || Life {
            stage: Stage::Close,
            began: 0,
            poll: None,
            websocket: None,
            sid: String::new(),
            released: false,
            probed: false,
            pinged: false,
        };
        Self {
            lives: (0..job.connections).map(|_| life()).collect(),
            idle: (0..job.connections).collect(),
            waiting: VecDeque::new(),
            owners: Vec::new(),
            upgrades: job.kind == Kind::Upgrade,
            started: false,
            pace: job.rate.map(Pacer::new),
            port: job.port,
            frames: Frames {
                connect: frame::text("40"),
                probe: frame::text("2probe"),
                upgrade: frame::text("5"),
                echo: frame::text(ECHO),
                pong: frame::text("3"),
                close: close_frame(),
            },
        }
    }

    fn open(&mut self, net: &mut Net, life: usize) -> anyhow::Result<Option<usize>> {
        let id = net.open()?;
        if id >= self.owners.len() {
            self.owners.resize(id + 1, usize::MAX);
        }
        self.owners[id] = life;
        Ok(Some(id))
    }

    fn begin(&mut self, net: &mut Net, number: usize, began: u64) -> anyhow::Result<()> {
        let connection = self.open(net, number)?;
        let life = &mut self.lives[number];
        (life.poll, life.websocket) = if self.upgrades { (connection, None) } else { (None, connection) };
        life.stage = if self.upgrades { Stage::PollOpen } else { Stage::Upgrade };
        life.began = began;
        (life.released, life.probed, life.pinged) = (false, false, false);
        Ok(())
    }

    /// Ends a life cycle that has reached its last stage.
    fn fulfilled(&mut self, net: &mut Net, number: usize, id: usize) {
        let life = &mut self.lives[number];
        life.stage = Stage::Close;
        net.meter.operation(life.began, net.now());
        net.send(id, &self.frames.close);
    }

    fn polled(&mut self, net: &mut Net, number: usize, id: usize, body: &str) -> anyhow::Result<()> {
        let port = self.port;
        let has = |wanted: &str| body.split(SEPARATOR).any(|packet| packet == wanted);
        let life = &mut self.lives[number];
        life.pinged |= has("2");
        match life.stage {
            Stage::PollOpen => {
                life.sid = http::sid(body)?;
                life.stage = Stage::PollPost;
                net.send(id, &http::post(port, &life.sid, "40"));
            }
            Stage::PollPost => {
                ensure!(body.eq_ignore_ascii_case("ok"), "a post was answered with {body}");
                life.stage = Stage::PollConnect;
                net.send(id, &http::get(port, Some(&life.sid)));
            }
            Stage::PollConnect if !body.contains("40{") => {
                ensure!(has("2"), "a poll brought {body}");
                net.send(id, &http::get(port, Some(&life.sid)));
            }
            Stage::PollConnect if life.pinged => {
                life.pinged = false;
                life.stage = Stage::PollPong;
                net.send(id, &http::post(port, &life.sid, "3"));
            }
            Stage::PollConnect | Stage::PollPong => {
                net.send(id, &http::get(port, Some(&life.sid)));
                life.stage = Stage::Upgrade;
                self.lives[number].websocket = self.open(net, number)?;
            }
            Stage::Upgrade | Stage::Probe if has("6") => {
                life.released = true;
                self.finish_upgrade(net, number)?;
            }
            Stage::Upgrade | Stage::Probe if has("2") => net.send(id, &http::get(port, Some(&life.sid))),
            stage => bail!("waiting for {stage:?}, a poll brought {body}"),
        }
        Ok(())
    }

    fn finish_upgrade(&mut self, net: &mut Net, number: usize) -> anyhow::Result<()> {
        let life = &mut self.lives[number];
        if !(life.released && life.probed) {
            return Ok(());
        }
        life.stage = Stage::Echo;
        net.close(life.poll.take().context("an upgrade without polling")?);
        let websocket = life.websocket.context("an upgrade without WebSocket")?;
        net.send(websocket, &self.frames.upgrade);
        if life.pinged {
            net.send(websocket, &self.frames.pong);
        }
        net.send(websocket, &self.frames.echo);
        Ok(())
    }

    fn message(&mut self, net: &mut Net, number: usize, id: usize, text: &str) -> anyhow::Result<()> {
        match (self.lives[number].stage, text) {
            (Stage::Open, _) if text.starts_with("0{") => {
                self.lives[number].stage = Stage::Connect;
                net.send(id, &self.frames.connect);
            }
            (Stage::Connect, _) if text.starts_with("40{") => self.fulfilled(net, number, id),
            (Stage::Probe, "3probe") => {
                self.lives[number].probed = true;
                self.finish_upgrade(net, number)?;
            }
            (Stage::Echo, ECHO) => self.fulfilled(net, number, id),
            // The server may have sent more than one NOOP packet.
            (Stage::Echo, "6") | (Stage::Close, _) => {}
            (Stage::Connect | Stage::Echo, "2") => net.send(id, &self.frames.pong),
            (stage, _) => bail!("waiting for {stage:?}, a WebSocket got {text}"),
        }
        Ok(())
    }

    fn over(&mut self, number: usize) {
        self.lives[number].websocket = None;
        self.idle.push(number);
    }
}

impl Actor for Churn {
    fn connected(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()> {
        let life = &self.lives[self.owners[id]];
        if life.poll == Some(id) {
            net.send(id, &http::get(self.port, None));
        } else {
            net.send(id, &http::upgrade(self.port, self.upgrades.then_some(&life.sid)));
        }
        Ok(())
    }

    fn received(&mut self, net: &mut Net, id: usize, bytes: &[u8]) -> anyhow::Result<usize> {
        let number = self.owners[id];
        if self.lives[number].poll == Some(id) {
            let Some((body, length)) = http::answer(bytes)? else { return Ok(0) };
            self.polled(net, number, id, body)?;
            return Ok(length);
        }
        let mut used = 0;
        if self.lives[number].stage == Stage::Upgrade {
            let Some(length) = http::upgraded(bytes)? else { return Ok(0) };
            used = length;
            if self.upgrades {
                self.lives[number].stage = Stage::Probe;
                net.send(id, &self.frames.probe);
            } else {
                self.lives[number].stage = Stage::Open;
            }
        }
        while let Some(found) = frame::read(&bytes[used..]) {
            let payload = &bytes[used..][found.payload.clone()];
            used += found.payload.end;
            match found.opcode {
                TEXT => self.message(net, number, id, std::str::from_utf8(payload)?)?,
                CLOSE if self.lives[number].stage == Stage::Close => {
                    net.close(id);
                    self.over(number);
                    return Ok(used);
                }
                opcode => bail!("waiting for {:?}, a frame with opcode {opcode}", self.lives[number].stage),
            }
        }
        Ok(used)
    }

    fn closed(&mut self, _net: &mut Net, id: usize) -> anyhow::Result<()> {
        let number = self.owners[id];
        let stage = self.lives[number].stage;
        ensure!(stage == Stage::Close, "waiting for {stage:?}, the server closed the connection");
        self.over(number);
        Ok(())
    }

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        let now = net.now();
        if !self.started {
            self.started = true;
            if let Some(pace) = &mut self.pace {
                pace.start(now);
            }
            net.meter.warm_up(now);
        }
        match &mut self.pace {
            Some(pace) => self.waiting.extend(std::iter::from_fn(|| pace.due(now)).map(|(_, time)| time)),
            None => self.waiting.extend(std::iter::repeat_n(now, self.idle.len() - self.waiting.len())),
        }
        while !net.over
            && let Some(began) = self.waiting.front().copied()
            && let Some(number) = self.idle.pop()
        {
            self.waiting.pop_front();
            self.begin(net, number, began)?;
        }
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.idle.len() == self.lives.len()
    }
}
