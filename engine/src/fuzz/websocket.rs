//! A fuzz target for the WebSocket decoder, with input in arbitrary pieces, and for a session that receives
//! the decoded packets.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    EngineConfig, TransportKind,
    proto::{
        dialect::Revision,
        packet::Packet,
        session::{Input, Output, Request, Session},
        websocket::{Decoder, Event, Fault},
    },
};

const MAX_LEN: usize = 4096;
const MAX_FRAGMENTS: usize = 1024;
/// The maximum number of outputs for one packet.
const MAX_OUTPUTS: usize = 8;

/// Decodes the input and feeds the events to a session. The first byte selects the kind of session, and the
/// second byte selects the length of the pieces. The result must not depend on the pieces.
pub fn websocket(input: &[u8]) {
    let [flags, pieces, bytes @ ..] = input else { return };
    let mut session = Sim::new(*flags);
    let whole = decode(*flags, bytes, bytes.len(), |event| session.take(event));
    session.end(whole.1);
    let in_pieces = decode(*flags, bytes, usize::from(*pieces) + 1, |_| ());
    assert_eq!(whole, in_pieces);
}

/// Decodes the input piece by piece, like the session's task. Returns the events as text, and the fault that
/// stopped decoding, if any.
fn decode(
    flags: u8,
    bytes: &[u8],
    piece: usize,
    mut event: impl FnMut(&Event<'_>),
) -> (Vec<String>, Option<Fault>) {
    let mut decoder = decoder(flags);
    let (mut events, mut tail) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        tail.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let left = tail.len() - at;
            match decoder.decode(&mut tail[at..], MAX_LEN, MAX_FRAGMENTS) {
                Ok(Some((used, found))) => {
                    assert!(used > 0 && used <= left);
                    if let Some(found) = found {
                        check(&found);
                        events.push(format!("{found:?}"));
                        event(&found);
                    }
                    at += used;
                }
                Ok(None) => break,
                Err(fault) => return (events, Some(fault)),
            }
        }
        tail.drain(..at);
    }
    (events, None)
}

#[cfg(feature = "compression")]
fn decoder(flags: u8) -> Decoder {
    use crate::proto::deflate::{History, Inflate};

    let history = (flags & 8 != 0).then(|| History::new(15));
    Decoder::new((flags & 4 != 0).then_some(Inflate { history }))
}

#[cfg(not(feature = "compression"))]
fn decoder(_: u8) -> Decoder {
    Decoder::new(None)
}

fn check(event: &Event<'_>) {
    match event {
        Event::Text(text) => assert!(text.len() <= MAX_LEN),
        Event::Binary(bytes) => assert!(bytes.len() <= MAX_LEN),
        Event::Ping(payload) => assert!(payload.len() <= 125),
        Event::Close(Some(code)) => assert!((1000..5000).contains(code), "{code}"),
        Event::Pong | Event::Close(None) => {}
    }
}

/// A session on a virtual clock, which was either opened on the WebSocket or is polling while the WebSocket
/// probes.
struct Sim {
    session: Session,
    revision: Revision,
    now: Instant,
    is_over: bool,
}

impl Sim {
    #[allow(clippy::disallowed_methods, reason = "the origin of the virtual clock")]
    fn new(flags: u8) -> Self {
        let now = Instant::now();
        let revision = if flags & 1 == 0 { Revision::V4 } else { Revision::V3 };
        let probes = flags & 2 != 0;
        let transport = if probes { TransportKind::Polling } else { TransportKind::WebSocket };
        let session = Session::new(now, Arc::new(EngineConfig::default().timing()), transport, revision);
        let mut sim = Self { session, revision, now, is_over: false };
        if probes {
            for request in [Request::Poll, Request::Probe] {
                sim.session.handle(now, Input::Arrived(request));
                assert!(sim.session.accepted());
                sim.drain();
            }
        }
        sim
    }

    /// Handles an event one second after the previous one, like the session's task.
    fn take(&mut self, event: &Event<'_>) {
        self.now += Duration::from_secs(1);
        self.session.handle(self.now, Input::Timeout);
        self.drain();
        let packet = match event {
            Event::Text(text) => Packet::decode(text, self.revision),
            Event::Binary(bytes) => Packet::decode_binary((&**bytes).into(), self.revision),
            Event::Ping(_) | Event::Pong => return self.session.record_activity(self.now),
            Event::Close(_) => return self.gone(false),
        };
        match packet {
            Ok(packet) => {
                let message = self.session.receive(self.now, TransportKind::WebSocket, packet);
                assert!(message.is_none() || !self.is_over, "a message after the end");
            }
            Err(_) => self.session.handle(self.now, Input::Malformed(TransportKind::WebSocket)),
        }
        self.drain();
    }

    fn gone(&mut self, error: bool) {
        self.session.handle(self.now, Input::Disconnected { request: Request::Probe, error });
        self.drain();
    }

    /// Drains the outputs of the session. The session must be closed only once.
    fn drain(&mut self) {
        for _ in 0..=MAX_OUTPUTS {
            match self.session.poll() {
                Output::Closed(_) => assert!(!std::mem::replace(&mut self.is_over, true), "two ends"),
                Output::Timeout(deadline) => {
                    assert_eq!(deadline.is_none(), self.session.is_closed());
                    return;
                }
                _ => {}
            }
        }
        panic!("outputs without end");
    }

    /// Disconnects the WebSocket. The session must then be closed, regardless of its state.
    fn end(&mut self, fault: Option<Fault>) {
        self.gone(fault.is_some());
        for _ in 0..4 {
            if let Output::Timeout(Some(deadline)) = self.session.poll() {
                self.now = deadline;
                self.session.handle(deadline, Input::Timeout);
                self.drain();
            }
        }
        assert!(self.is_over && self.session.is_closed());
    }
}
