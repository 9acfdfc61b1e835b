//! Socket.IO clients over WebSocket: brings up any number of them, then lets a [`Scenario`] play.

use anyhow::{Context as _, bail, ensure};
use bench::{
    frame::{self, BINARY, PING, PONG, TEXT},
    job::Job,
};

use crate::net::{Actor, Net};

/// Handshakes that are under way at the same time.
const AT_ONCE: usize = 64;
/// Nanoseconds between the last handshake and the load.
const SETTLE: u64 = 300_000_000;
/// The key of the example in RFC 6455, and the answer that it asks for.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What is done with the sockets when all of them are connected.
pub(crate) trait Scenario {
    /// All sockets are connected.
    fn start(&mut self, net: &mut Net) -> anyhow::Result<()>;

    /// A message has come, other than a ping.
    fn message(&mut self, net: &mut Net, socket: usize, opcode: u8, payload: &[u8]) -> anyhow::Result<()>;

    /// All messages of one read were handed over: the time to send.
    fn read_all(&mut self, net: &mut Net, socket: usize);

    /// Called once in each turn of the loop.
    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()>;

    /// Whether the server may close connections now.
    fn closing(&self) -> bool {
        false
    }
}

/// All clients of a run. The number of a socket is that of its connection.
pub(crate) struct Sockets<S> {
    scenario: S,
    wanted: usize,
    states: Vec<State>,
    ready: usize,
    started: Started,
    upgrade: Vec<u8>,
    connect: Vec<u8>,
    pong: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Waits for the TCP connection, then for the answer to the upgrade.
    Upgrading,
    /// Waits for the open packet.
    Opening,
    /// Waits for the namespace.
    Connecting,
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
            wanted: job.connections,
            states: Vec::new(),
            ready: 0,
            started: Started::No,
            upgrade: upgrade_request(job.port, "/socket.io/?EIO=4&transport=websocket"),
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
            State::Connecting if payload.starts_with(b"40{") => {
                self.states[id] = State::Ready;
                self.ready += 1;
                if self.ready == self.wanted {
                    self.started = Started::At(net.now() + SETTLE);
                }
            }
            state => bail!("{state:?}, but got {}", String::from_utf8_lossy(payload)),
        }
        Ok(())
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
            let Some(length) = upgraded(bytes)? else { return Ok(0) };
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
                _ if self.scenario.closing() => {}
                opcode => bail!("socket {id} got a frame with opcode {opcode}"),
            }
        }
        if self.started == Started::Yes {
            self.scenario.read_all(net, id);
        }
        Ok(used)
    }

    fn closed(&mut self, _net: &mut Net, id: usize) -> anyhow::Result<()> {
        ensure!(self.scenario.closing(), "the server closed socket {id} in state {:?}", self.states[id]);
        Ok(())
    }

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        while self.states.len() < self.wanted && self.states.len() - self.ready < AT_ONCE {
            let id = net.open()?;
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
}

/// The request for a WebSocket.
pub(crate) fn upgrade_request(port: u16, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// The length of the answer to an upgrade, once all of it is there.
pub(crate) fn upgraded(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).context("the answer to an upgrade")?
    else {
        return Ok(None);
    };
    ensure!(response.code == Some(101), "upgrade refused: {}", String::from_utf8_lossy(bytes));
    let accept =
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    ensure!(accept.is_some_and(|header| header.value == ACCEPT), "wrong Sec-WebSocket-Accept");
    Ok(Some(length))
}
