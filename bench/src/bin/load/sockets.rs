//! Socket.IO clients over WebSocket. Connects any number of them, then runs a [`Scenario`].

use anyhow::{bail, ensure};
use bench::{
    frame::{self, BINARY, CLOSE, PING, PONG, TEXT},
    job::{Job, Kind},
};

use crate::{
    http,
    net::{Actor, Net},
};

/// The number of concurrent handshakes.
const AT_ONCE: usize = 64;
/// Nanoseconds between the last handshake and the start of the load.
const SETTLE: u64 = 300_000_000;

/// Returns the name of a room other than the shared one.
pub(crate) fn own_room(number: usize) -> String {
    format!("own-{number}")
}

/// The behavior of the sockets after all of them are connected.
pub(crate) trait Scenario {
    /// Called when all sockets are connected.
    fn start(&mut self, net: &mut Net) -> anyhow::Result<()>;

    /// Called for each message except pings.
    fn message(&mut self, net: &mut Net, socket: usize, opcode: u8, payload: &[u8]) -> anyhow::Result<()>;

    /// Called after all messages of one read, so that responses can be sent together.
    fn read_all(&mut self, net: &mut Net, socket: usize);

    /// Called once per turn of the event loop.
    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()>;

    /// Returns `true` if every operation has completed. See [`Actor::has_all`].
    fn has_all(&self) -> bool {
        true
    }

    /// Called when the server has closed a connection.
    fn closed(&mut self, _net: &mut Net, socket: usize) -> anyhow::Result<()> {
        bail!("the server closed socket {socket}")
    }
}

/// All clients of a run. The number of a socket is the id of its connection.
pub(crate) struct Sockets<S> {
    scenario: S,
    wanted: usize,
    /// Sockets from this number on join a second room.
    joins_from: usize,
    /// The number of second rooms. With `usize::MAX`, each socket has a room of its own.
    rooms: usize,
    /// The port of the server that all sockets but the first are connected to, if it is not that of the job.
    other_port: Option<u16>,
    states: Vec<State>,
    ready: usize,
    started: Started,
    upgrade: Vec<u8>,
    connect: Vec<u8>,
    pong: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Waits for the TCP connection, then for the response to the WebSocket handshake.
    Upgrading,
    /// Waits for the open packet.
    Opening,
    /// Waits for the CONNECT packet.
    Connecting,
    /// Waits for the acknowledgement of joining the second room.
    Joining,
    Ready,
}

#[derive(PartialEq)]
enum Started {
    No,
    At(u64),
    Yes,
}

impl<S: Scenario> Sockets<S> {
    pub(crate) fn new(job: &Job, scenario: S) -> Self {
        Self {
            scenario,
            wanted: job.connections + job.others,
            joins_from: match job.kind {
                Kind::Disconnect => 0,
                Kind::Cluster | Kind::ClusterNobody => 1,
                _ if job.rooms > 0 => 0,
                _ => job.connections,
            },
            rooms: if job.rooms > 0 { job.rooms } else { usize::MAX },
            other_port: job.cluster.map(|cluster| cluster.port),
            states: Vec::new(),
            ready: 0,
            started: Started::No,
            upgrade: http::upgrade(job.port, None),
            connect: frame::text("40"),
            pong: frame::text("3"),
        }
    }

    fn handshake(&mut self, net: &mut Net, id: usize, payload: &[u8]) -> anyhow::Result<()> {
        match self.states[id] {
            State::Opening if payload.starts_with(b"0{") => {
                net.send(id, &self.connect);
                self.states[id] = State::Connecting;
            }
            State::Connecting if payload.starts_with(b"40{") && id >= self.joins_from => {
                net.send(id, &frame::text(&format!(r#"420["join",{:?}]"#, own_room(id % self.rooms))));
                self.states[id] = State::Joining;
            }
            State::Connecting if payload.starts_with(b"40{") => self.ready(net, id),
            State::Joining if payload.starts_with(b"430[") => self.ready(net, id),
            state => bail!("{state:?}, but got {}", String::from_utf8_lossy(payload)),
        }
        Ok(())
    }

    fn ready(&mut self, net: &mut Net, id: usize) {
        self.states[id] = State::Ready;
        self.ready += 1;
        if self.ready == self.wanted {
            self.started = Started::At(net.now() + SETTLE);
        }
    }
}

impl<S: Scenario> Actor for Sockets<S> {
    fn connected(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()> {
        net.send(id, &self.upgrade);
        Ok(())
    }

    fn received(&mut self, net: &mut Net, id: usize, bytes: &[u8]) -> anyhow::Result<usize> {
        let mut used = 0;
        if self.states[id] == State::Upgrading {
            let Some(length) = http::upgraded(bytes)? else { return Ok(0) };
            used = length;
            self.states[id] = State::Opening;
        }
        while let Some(frame) = frame::read(&bytes[used..]) {
            let payload = &bytes[used..][frame.payload.clone()];
            used += frame.payload.end;
            ensure!(
                frame.last && frame.mask.is_none(),
                "a frame that is masked or not the only one of its message"
            );
            match frame.opcode {
                TEXT if payload == b"2" => net.send(id, &self.pong),
                TEXT | BINARY if self.states[id] == State::Ready => {
                    self.scenario.message(net, id, frame.opcode, payload)?;
                }
                TEXT => self.handshake(net, id, payload)?,
                PING => {
                    let mut pong = Vec::new();
                    frame::write_masked(&mut pong, PONG, payload);
                    net.send(id, &pong);
                }
                // The server closes the connection next.
                CLOSE => {}
                opcode => bail!("socket {id} got a frame with opcode {opcode}"),
            }
        }
        if self.started == Started::Yes {
            self.scenario.read_all(net, id);
        }
        Ok(used)
    }

    fn closed(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()> {
        ensure!(
            self.started == Started::Yes,
            "the server closed socket {id} when it was {:?}",
            self.states[id]
        );
        self.scenario.closed(net, id)
    }

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        while self.states.len() < self.wanted && self.states.len() - self.ready < AT_ONCE {
            let id = match self.other_port {
                Some(port) if !self.states.is_empty() => net.open_to(port)?,
                _ => net.open()?,
            };
            debug_assert_eq!(id, self.states.len());
            self.states.push(State::Upgrading);
        }
        match self.started {
            Started::No => {}
            Started::At(time) if net.now() < time => {}
            Started::At(_) => {
                self.started = Started::Yes;
                self.scenario.start(net)?;
            }
            Started::Yes => self.scenario.turn(net)?,
        }
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.scenario.has_all()
    }
}
