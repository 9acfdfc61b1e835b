//! A client that behaves like engine.io-client 6.6 (`socket.js`, `polling.js` and `websocket.js`).

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::{StreamExt, stream::FuturesUnordered};
use rand::{RngExt, rngs::StdRng};
use testkit::{HttpResponse, frames::close_frame};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, WriteHalf, split},
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    history::HEARTBEAT,
    http::{self, Lane},
    network::{Network, Purpose},
    scenario::{Farewell, Plan, Transports},
    talk::{Reaction, Talk},
    websocket::{self, Frame, Frames},
};

/// An idle connection is reused only within this time. Later, the server may be closing it.
const REUSED: Duration = Duration::from_secs(5);
/// The maximum time for the last writes of a client.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// An Engine.IO packet. Text includes the packet type.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

/// An event that the client waits for.
enum Step {
    Polled(Option<(Lane, HttpResponse)>),
    Posted(Option<(Lane, HttpResponse)>),
    WebSocketOpened(Option<Lane>),
    Framed(Option<(Frames, Frame)>),
    Written(Option<WriteHalf<DuplexStream>>),
    /// The next scripted event is due.
    Emits(u32, Vec<Packet>),
    Answers(Packet),
    Leaves,
}

/// The transport that the session uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    /// Polling continues only until the current poll and POST complete.
    Pausing,
    WebSocket,
}

struct Socket {
    writer: Option<WriteHalf<DuplexStream>>,
    out: Vec<u8>,
}

/// The session has ended, for the given reason.
struct Ended(&'static str);

#[allow(clippy::struct_excessive_bools, reason = "the official client has as many")]
pub(crate) struct Client {
    plan: Arc<Plan>,
    network: Network,
    rng: StdRng,
    talk: Talk,
    steps: FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send>>>,
    sid: Option<String>,
    transport: Transport,
    polling: bool,
    posting: bool,
    /// The flag `upgrading` of the official client.
    upgrading: bool,
    websocket: Option<Socket>,
    outbox: Vec<Packet>,
    spare: Option<Lane>,
    heartbeat_by: Instant,
    joined: bool,
    leaving: bool,
}

impl Client {
    pub(crate) fn new(plan: Arc<Plan>, network: Network, rng: StdRng) -> Self {
        let talk = Talk::new(plan.clone(), network.record.clone());
        Self {
            plan,
            network,
            rng,
            talk,
            steps: FuturesUnordered::new(),
            sid: None,
            transport: Transport::Polling,
            polling: false,
            posting: false,
            upgrading: false,
            websocket: None,
            outbox: Vec::new(),
            spare: None,
            heartbeat_by: Instant::now() + HEARTBEAT,
            joined: false,
            leaving: false,
        }
    }

    /// Runs the client until its session ends. After `leave`, the client ends the session itself.
    pub(crate) async fn run(mut self, number: usize, mut leave: watch::Receiver<bool>) {
        self.later(async move {
            let _ = leave.wait_for(|leave| *leave).await;
            Step::Leaves
        });
        if self.plan.transports == Transports::WebSocket {
            self.transport = Transport::WebSocket;
            self.open_websocket();
        } else {
            self.poll();
        }
        self.outbox.push(Packet::Text(format!(r#"40{{"seat":{number}}}"#)));
        // A timeout means that no ping arrived in time.
        while let Ok(Some(step)) = timeout_at(self.heartbeat_by, self.steps.next()).await {
            let vanishes = matches!(step, Step::Leaves) && self.plan.farewell == Farewell::Vanish;
            if vanishes {
                return;
            }
            if let Err(Ended(reason)) = self.step(step) {
                self.network.record.lock().ended = reason;
                return;
            }
            self.flush();
            if self.leaving && self.is_idle() {
                return self.close().await;
            }
        }
    }

    fn later(&mut self, step: impl Future<Output = Step> + Send + 'static) {
        self.steps.push(Box::pin(step));
    }

    fn step(&mut self, step: Step) -> Result<(), Ended> {
        match step {
            Step::Polled(answer) => self.polled(answer.ok_or(Ended("a poll failed"))?)?,
            Step::Posted(answer) => {
                let (lane, response) = answer.ok_or(Ended("a POST failed"))?;
                if response.status != 200 {
                    return Err(Ended("a POST was refused"));
                }
                self.posting = false;
                self.spare = Some(lane);
                self.pause();
            }
            Step::WebSocketOpened(lane) => self.websocket_opened(lane)?,
            Step::Framed(Some((frames, frame))) => self.framed(frames, frame)?,
            Step::Framed(None) | Step::Written(None) if self.transport == Transport::WebSocket => {
                return Err(Ended("the WebSocket ended"));
            }
            // A WebSocket that has only probed is abandoned. If this happens while polling is paused, the
            // official client never polls again, and the heartbeat ends its session.
            Step::Framed(None) | Step::Written(None) => self.websocket = None,
            Step::Written(Some(writer)) => {
                if let Some(websocket) = &mut self.websocket {
                    websocket.writer = Some(writer);
                }
            }
            Step::Emits(n, packets) => {
                self.outbox.extend(packets);
                self.emit_later(n + 1);
            }
            Step::Answers(packet) => self.outbox.push(packet),
            Step::Leaves => self.leave(),
        }
        Ok(())
    }

    fn leave(&mut self) {
        let farewell = match self.plan.farewell {
            Farewell::ServerDisconnects if self.joined => r#"42["bye",false]"#,
            Farewell::ServerCloses if self.joined => r#"42["bye",true]"#,
            Farewell::Disconnect if self.joined => {
                self.leaving = true;
                "41"
            }
            _ => {
                self.leaving = true;
                return;
            }
        };
        self.outbox.push(Packet::Text(farewell.to_owned()));
    }

    fn emit_later(&mut self, n: u32) {
        if let Some((pause, packets)) = self.talk.event(n) {
            self.later(async move {
                sleep(pause).await;
                Step::Emits(n, packets)
            });
        }
    }

    /// Handles a packet received on the current transport.
    fn packet(&mut self, packet: Packet) -> Result<(), Ended> {
        let reaction = match packet {
            Packet::Binary(bytes) => self.talk.binary(bytes),
            Packet::Text(text) => match text.split_at(1) {
                ("0", handshake) => {
                    self.opened(handshake);
                    Reaction::None
                }
                ("1", "") => return Err(Ended("the server closed the session")),
                ("2", "") => {
                    self.heartbeat_by = Instant::now() + HEARTBEAT;
                    self.outbox.push(Packet::Text("3".to_owned()));
                    Reaction::None
                }
                ("4", message) => self.talk.text(message),
                ("6", "") => Reaction::None,
                _ => panic!("no packet of a server: {text}"),
            },
        };
        match reaction {
            Reaction::None => {}
            Reaction::Joined => {
                self.joined = true;
                self.network.record.lock().joined = true;
                self.emit_later(0);
            }
            Reaction::Left => self.leaving = true,
            Reaction::Answer(wait, packet) if wait.is_zero() => self.outbox.push(packet),
            Reaction::Answer(wait, packet) => self.later(async move {
                sleep(wait).await;
                Step::Answers(packet)
            }),
        }
        Ok(())
    }

    fn opened(&mut self, handshake: &str) {
        let sid = handshake.strip_prefix(r#"{"sid":""#).expect("a handshake").split('"').next().unwrap();
        self.sid = Some(sid.to_owned());
        self.heartbeat_by = Instant::now() + HEARTBEAT;
        if self.transport == Transport::Polling && self.plan.transports == Transports::Upgrade {
            self.open_websocket();
        }
    }

    /// Sends the queued packets if the transport is ready.
    fn flush(&mut self) {
        if !self.outbox.is_empty() && !self.upgrading && self.sid.is_some() {
            match self.transport {
                Transport::Polling if !self.posting => {
                    let body: Vec<String> = self.outbox.drain(..).map(Packet::for_polling).collect();
                    self.post(&body.join("\u{1e}"));
                }
                Transport::WebSocket => {
                    for packet in std::mem::take(&mut self.outbox) {
                        self.write(&packet);
                    }
                }
                _ => {}
            }
        }
        let Some(websocket) = &mut self.websocket else { return };
        if websocket.out.is_empty() {
            return;
        }
        if let Some(mut writer) = websocket.writer.take() {
            let out = std::mem::take(&mut websocket.out);
            self.later(async move { Step::Written(writer.write_all(&out).await.ok().map(|()| writer)) });
        }
    }

    fn is_idle(&self) -> bool {
        let written = self.websocket.as_ref().is_none_or(|it| it.out.is_empty() && it.writer.is_some());
        self.outbox.is_empty() && !self.posting && !self.upgrading && written
    }

    /// Ends the session, and waits until the last packets are written.
    async fn close(mut self) {
        if self.transport == Transport::WebSocket {
            if let Some(websocket) = &mut self.websocket {
                websocket.out.extend(close_frame(1000));
                self.flush();
            }
        } else if self.sid.is_some() {
            self.post("1");
        }
        let rest = async {
            while let Some(step) = self.steps.next().await {
                match step {
                    Step::Posted(_) | Step::Framed(None | Some((_, Frame::Close))) => break,
                    Step::Framed(Some((frames, _))) => self.read(frames),
                    _ => {}
                }
            }
        };
        let _ = timeout(LAST_WORDS, rest).await;
    }

    fn target(&self, transport: &str) -> String {
        let sid = self.sid.as_ref().map_or(String::new(), |sid| format!("&sid={sid}"));
        format!("/socket.io/?EIO=4&transport={transport}{sid}")
    }

    fn lane(&mut self) -> Lane {
        match self.spare.take() {
            Some(lane) if self.plan.keep_alive && lane.used.elapsed() < REUSED => lane,
            _ => Lane::new(self.network.connect(Purpose::Requests, &mut self.rng)),
        }
    }

    fn poll(&mut self) {
        self.polling = true;
        let polled = self.lane().request(http::get(&self.target("polling")));
        self.later(async move { Step::Polled(polled.await) });
    }

    fn polled(&mut self, (lane, response): (Lane, HttpResponse)) -> Result<(), Ended> {
        if response.status != 200 {
            return Err(Ended("a poll was refused"));
        }
        self.spare = Some(lane);
        for packet in response.body.split('\u{1e}') {
            let packet = match packet.strip_prefix('b') {
                Some(base64) => Packet::Binary(BASE64_STANDARD.decode(base64).unwrap()),
                None => Packet::Text(packet.to_owned()),
            };
            self.packet(packet)?;
        }
        self.polling = false;
        if self.transport == Transport::Polling {
            self.poll();
        }
        self.pause();
        Ok(())
    }

    fn post(&mut self, body: &str) {
        self.posting = true;
        let posted = self.lane().request(http::post(&self.target("polling"), body));
        self.later(async move { Step::Posted(posted.await) });
    }

    fn open_websocket(&mut self) {
        let takes_over = self.transport == Transport::Polling;
        let purpose = if takes_over { Purpose::Probe } else { Purpose::WebSocket };
        let lane = Lane::new(self.network.connect(purpose, &mut self.rng));
        let opened = lane.request(http::upgrade(&self.target("websocket")));
        self.later(async move {
            let opened = opened.await.filter(|(_, response)| response.status == 101);
            Step::WebSocketOpened(opened.map(|(lane, _)| lane))
        });
    }

    fn websocket_opened(&mut self, lane: Option<Lane>) -> Result<(), Ended> {
        let Some(lane) = lane else {
            return if self.transport == Transport::WebSocket { Err(Ended("no WebSocket")) } else { Ok(()) };
        };
        let (stream, writer) = split(lane.stream);
        self.websocket = Some(Socket { writer: Some(writer), out: Vec::new() });
        self.read(Frames { stream, received: lane.rest });
        if self.transport == Transport::Polling {
            self.write(&Packet::Text("2probe".to_owned()));
        }
        Ok(())
    }

    fn read(&mut self, frames: Frames) {
        self.later(async move { Step::Framed(frames.next().await) });
    }

    fn write(&mut self, packet: &Packet) {
        let Some(websocket) = &mut self.websocket else { return };
        let (opcode, payload) = match packet {
            Packet::Text(text) => (1, text.as_bytes()),
            Packet::Binary(bytes) => (2, bytes.as_slice()),
        };
        let split = self.rng.random_bool(0.1).then(|| self.rng.random_range(0..=payload.len()));
        websocket::write_message(&mut websocket.out, opcode, payload, split);
    }

    fn framed(&mut self, frames: Frames, frame: Frame) -> Result<(), Ended> {
        let carries = self.transport == Transport::WebSocket;
        match frame {
            Frame::Text(text) if carries => self.packet(Packet::Text(text))?,
            Frame::Binary(bytes) if carries => self.packet(Packet::Binary(bytes))?,
            Frame::Close if carries => return Err(Ended("the server closed the WebSocket")),
            Frame::Text(text) if text == "3probe" && !self.upgrading => {
                self.upgrading = true;
                self.transport = Transport::Pausing;
                self.pause();
            }
            Frame::Close => {
                self.websocket = None;
                return Ok(());
            }
            frame => panic!("before the upgrade the server sent {frame:?}"),
        }
        self.read(frames);
        Ok(())
    }

    /// Finishes the upgrade once no poll or POST is in flight.
    fn pause(&mut self) {
        if self.transport != Transport::Pausing || self.polling || self.posting || self.websocket.is_none() {
            return;
        }
        self.transport = Transport::WebSocket;
        self.write(&Packet::Text("5".to_owned()));
        self.upgrading = false;
    }
}

impl Packet {
    fn for_polling(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Binary(bytes) => format!("b{}", BASE64_STANDARD.encode(bytes)),
        }
    }
}
