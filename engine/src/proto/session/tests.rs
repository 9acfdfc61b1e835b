//! Tests of the session on a virtual clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::engine::EngineConfig,
    proto::{
        dialect::Revision,
        packet::{
            Message, Packet,
            TransportKind::{self, Polling, WebSocket},
        },
        session::{CloseReason, End, Input, Output, Request, Route, Session},
    },
};

/// A session on a virtual clock.
pub(super) struct Sim {
    pub(super) session: Session,
    pub(super) now: Instant,
    start: Instant,
}

impl Sim {
    #[allow(clippy::disallowed_methods, reason = "the origin of the virtual clock")]
    pub(super) fn speaking(revision: Revision, transport: TransportKind) -> Self {
        let start = Instant::now();
        let session = Session::new(start, Arc::new(EngineConfig::default().timing()), transport, revision);
        Self { session, now: start, start }
    }

    pub(super) fn new(transport: TransportKind) -> Self {
        Self::speaking(Revision::V4, transport)
    }

    pub(super) fn feed(&mut self, input: Input) -> Vec<Output> {
        self.session.handle(self.now, input);
        self.drain()
    }

    /// Feeds a packet that must not contain a message.
    pub(super) fn packet(&mut self, via: TransportKind, text: &str) -> Vec<Output> {
        assert_eq!(self.session.receive(self.now, via, Packet::decode(text, Revision::V4).unwrap()), None);
        self.drain()
    }

    pub(super) fn message(&mut self, via: TransportKind, text: &str) -> bool {
        let received = self.session.receive(self.now, via, Packet::Message(Message::Text(text)));
        assert_eq!(self.drain(), []);
        received == Some(Message::Text(text))
    }

    pub(super) fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| {
            Some(self.session.poll()).filter(|output| !matches!(output, Output::Timeout(_)))
        })
        .collect()
    }

    pub(super) fn deadline(&mut self) -> Option<Duration> {
        let Output::Timeout(at) = self.session.poll() else { panic!("not drained") };
        at.map(|at| at - self.start)
    }

    /// Jumps to the next deadline.
    pub(super) fn wake(&mut self) -> Vec<Output> {
        self.now = self.start + self.deadline().expect("a deadline");
        self.feed(Input::Timeout)
    }

    fn probed() -> Self {
        let mut sim = Self::new(Polling);
        assert_eq!(sim.feed(Input::Arrived(Request::Probe)), [Output::Accept(Request::Probe)]);
        assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong]);
        sim
    }
}

const NOOP: Output = Output::Respond { ping: false, end: Some(End::Noop) };
const CLOSE: Output = Output::Respond { ping: false, end: Some(End::Close) };
const DATA: Output = Output::Respond { ping: false, end: None };
const PING: Output = Output::Respond { ping: true, end: None };

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_late_pong_closes_after_interval_and_timeout() {
    let mut sim = Sim::new(WebSocket);
    assert_eq!(sim.wake(), [Output::Ping]);
    assert_eq!(sim.wake(), [Output::Closed(CloseReason::PingTimeout)]);
    assert_eq!(sim.now - sim.start, secs(45));
    assert_eq!(sim.deadline(), None);
    assert!(sim.session.is_closed());
}

#[test]
fn a_pong_restarts_the_interval() {
    let mut sim = Sim::new(WebSocket);
    sim.wake();
    sim.now += secs(3);
    assert_eq!(sim.packet(WebSocket, "3"), []);
    assert_eq!(sim.deadline(), Some(secs(25 + 3 + 25)));
    assert_eq!(sim.wake(), [Output::Ping]);
}

#[test]
fn any_byte_proves_life_while_a_ping_is_out() {
    let mut sim = Sim::new(WebSocket);
    sim.wake();
    sim.now += secs(19);
    sim.session.record_activity(sim.now);
    assert_eq!(sim.deadline(), Some(secs(25 + 19 + 20)));
    assert!(sim.message(WebSocket, "busy"));
    assert_eq!(sim.wake(), [Output::Closed(CloseReason::PingTimeout)]);
}

#[test]
fn a_stalled_server_pings_once_when_it_wakes() {
    let mut sim = Sim::new(WebSocket);
    sim.now += secs(500);
    assert_eq!(sim.feed(Input::Timeout), [Output::Ping]);
    assert_eq!(sim.feed(Input::Timeout), []);
}

#[test]
fn a_timer_that_is_a_little_late_moves_no_deadline() {
    for (late, by) in [(0, 45_000), (9, 45_000), (10, 45_010), (500, 45_500)] {
        let mut sim = Sim::new(WebSocket);
        sim.now += Duration::from_millis(25_000 + late);
        assert_eq!(sim.feed(Input::Timeout), [Output::Ping]);
        assert_eq!(sim.deadline(), Some(Duration::from_millis(by)), "late by {late} ms");
    }
}

#[test]
fn a_ping_waits_for_the_next_poll() {
    let mut sim = Sim::new(Polling);
    assert_eq!(sim.wake(), []);
    assert_eq!(sim.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll), PING]);
    assert_eq!(sim.wake(), [Output::Closed(CloseReason::PingTimeout)]);
}

#[test]
fn a_ping_answers_a_parked_poll() {
    let mut sim = Sim::new(Polling);
    sim.feed(Input::Arrived(Request::Poll));
    assert_eq!(sim.wake(), [PING]);
    assert_eq!(sim.session.route(), Route::None);
}

#[test]
fn a_ping_from_the_client_is_an_error() {
    let mut sim = Sim::new(WebSocket);
    assert_eq!(sim.packet(WebSocket, "2"), [Output::Closed(CloseReason::TransportError)]);
}

#[test]
fn messages_go_into_the_answer_of_a_parked_poll() {
    let mut sim = Sim::new(Polling);
    assert_eq!(sim.session.route(), Route::None);
    assert_eq!(sim.feed(Input::Deliver), []);
    assert_eq!(sim.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll)]);
    assert_eq!(sim.session.route(), Route::Poll);
    assert_eq!(sim.feed(Input::Deliver), [DATA]);
    assert_eq!(sim.session.route(), Route::None);
}

#[test]
fn two_polls_at_once_end_the_session() {
    let mut sim = Sim::new(Polling);
    sim.feed(Input::Arrived(Request::Poll));
    assert_eq!(sim.feed(Input::Arrived(Request::Poll)), [CLOSE, Output::Closed(CloseReason::TransportError)]);
    assert_eq!(sim.feed(Input::Arrived(Request::Poll)), []);
}

#[test]
fn two_posts_at_once_end_the_session() {
    let mut sim = Sim::new(Polling);
    assert_eq!(sim.feed(Input::Arrived(Request::Post)), [Output::Accept(Request::Post)]);
    assert_eq!(sim.feed(Input::Arrived(Request::Post)), [Output::Closed(CloseReason::TransportError)]);

    let mut sim = Sim::new(Polling);
    sim.feed(Input::Arrived(Request::Post));
    sim.feed(Input::PostDone);
    assert_eq!(sim.feed(Input::Arrived(Request::Post)), [Output::Accept(Request::Post)]);
}

#[test]
fn an_aborted_request_ends_the_session_without_an_answer() {
    for request in [Request::Poll, Request::Post] {
        let mut sim = Sim::new(Polling);
        sim.feed(Input::Arrived(request));
        assert_eq!(
            sim.feed(Input::Disconnected { request, error: true }),
            [Output::Closed(CloseReason::TransportError)]
        );
    }
}

#[test]
fn upgrades_and_releases_the_poll_in_time() {
    let mut sim = Sim::new(Polling);
    sim.feed(Input::Arrived(Request::Poll));
    sim.feed(Input::Arrived(Request::Probe));
    assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong]);
    assert_eq!(sim.session.route(), Route::Poll);
    assert_eq!(sim.deadline(), Some(Duration::from_millis(100)));
    assert_eq!(sim.wake(), [NOOP]);
    assert_eq!(sim.session.route(), Route::None);
    assert!(sim.message(Polling, "a POST before the upgrade"));
    assert_eq!(sim.packet(WebSocket, "5"), [Output::Upgraded]);
    assert_eq!(sim.session.route(), Route::WebSocket);
    assert!(sim.message(WebSocket, "after"));
    assert!(!sim.message(Polling, "a POST after the upgrade"));
    assert_eq!(sim.feed(Input::Arrived(Request::Poll)), []);
    assert_eq!(sim.feed(Input::Arrived(Request::Probe)), []);
}

#[test]
fn a_probe_that_comes_later_releases_the_poll_at_once() {
    for (age, delay) in [(0, 100), (50, 100), (60, 90), (149, 1), (150, 0), (24_999, 0)] {
        let mut sim = Sim::new(Polling);
        sim.now += Duration::from_millis(age);
        sim.feed(Input::Arrived(Request::Poll));
        sim.feed(Input::Arrived(Request::Probe));
        if delay == 0 {
            assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong, NOOP], "{age}");
            // The client may have polled again before it received the response to its probe.
            assert_eq!(sim.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll), NOOP]);
        } else {
            assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong], "{age}");
            assert_eq!(sim.deadline(), Some(Duration::from_millis(age + delay)), "{age}");
        }
    }
}

#[test]
fn the_poll_of_a_refused_post_waits() {
    let closed = Output::Closed(CloseReason::TransportError);
    let mut alone = Sim::new(Polling);
    alone.feed(Input::Arrived(Request::Post));
    assert_eq!(alone.feed(Input::PostRefused), [closed]);
    assert!(alone.session.is_closed());

    let parked = || {
        let mut sim = Sim::probed();
        sim.feed(Input::Arrived(Request::Poll));
        sim.feed(Input::Arrived(Request::Post));
        assert_eq!(sim.feed(Input::PostRefused), [Output::DropProbe, closed]);
        assert_eq!(sim.session.route(), Route::None);
        assert_eq!(sim.feed(Input::PostRefused), []);
        sim
    };
    let mut silent = parked();
    assert_eq!(silent.deadline(), Some(secs(5)));
    assert_eq!(silent.wake(), [CLOSE]);
    assert!(silent.session.is_closed());

    let mut gone = parked();
    assert_eq!(gone.feed(Input::Arrived(Request::Post)), [Output::Accept(Request::Post)]);
    assert_eq!(gone.feed(Input::Disconnected { request: Request::Poll, error: true }), []);
    assert!(gone.session.is_closed());

    let mut again = parked();
    assert_eq!(again.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll), CLOSE]);
    assert!(again.session.is_closed());
}

#[test]
fn a_client_that_goes_on_polling_while_it_upgrades_is_slowed_down() {
    let mut sim = Sim::probed();
    for _ in 0..3 {
        let start = sim.now;
        assert_eq!(sim.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll)]);
        assert_eq!(sim.wake(), [NOOP]);
        assert_eq!(sim.now - start, Duration::from_millis(100));
    }
    // Messages are delivered immediately.
    assert_eq!(sim.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll)]);
    assert_eq!(sim.session.route(), Route::Poll);
}

#[test]
fn the_heartbeat_outlives_the_upgrade() {
    let mut sim = Sim::new(Polling);
    assert_eq!(sim.wake(), []);
    sim.feed(Input::Arrived(Request::Probe));
    assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong]);
    assert_eq!(sim.packet(WebSocket, "5"), [Output::Upgraded, Output::Ping]);
    assert_eq!(sim.wake(), [Output::Closed(CloseReason::PingTimeout)]);
    assert_eq!(sim.now - sim.start, secs(45));
}

#[test]
fn a_failed_probe_leaves_polling_alone() {
    for end in [
        Input::Disconnected { request: Request::Probe, error: false },
        Input::Disconnected { request: Request::Probe, error: true },
        Input::Malformed(WebSocket),
    ] {
        let mut sim = Sim::probed();
        assert_eq!(sim.feed(end), [Output::DropProbe]);
        assert!(sim.message(Polling, "still here"));
        assert_eq!(sim.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll)]);
        assert_eq!(sim.feed(Input::Arrived(Request::Probe)), [Output::Accept(Request::Probe)]);
    }
}

#[test]
fn an_abandoned_probe_is_dropped_after_the_upgrade_timeout() {
    let mut sim = Sim::new(Polling);
    sim.feed(Input::Arrived(Request::Probe));
    assert_eq!(sim.deadline(), Some(secs(10)));
    assert_eq!(sim.wake(), [Output::DropProbe]);
    assert_eq!(sim.feed(Input::Arrived(Request::Probe)), [Output::Accept(Request::Probe)]);
    assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong]);
    assert_eq!(sim.wake(), [Output::DropProbe]);
    assert_eq!(sim.deadline(), Some(secs(25)));
}

#[test]
fn a_second_probe_ends_the_upgrade() {
    let mut sim = Sim::probed();
    assert_eq!(sim.packet(WebSocket, "2probe"), [Output::DropProbe]);
    assert_eq!(sim.packet(WebSocket, "2probe"), []);
    assert_eq!(sim.packet(WebSocket, "5"), []);
    assert!(sim.message(Polling, "alive"));
    assert_eq!(sim.feed(Input::Arrived(Request::Probe)), [Output::Accept(Request::Probe)]);
    assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong]);
}

#[test]
fn a_probe_gains_no_time_for_the_upgrade() {
    let mut sim = Sim::new(Polling);
    sim.feed(Input::Arrived(Request::Probe));
    sim.now += secs(9);
    assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong]);
    assert_eq!(sim.deadline(), Some(secs(10)));
    assert_eq!(sim.wake(), [Output::DropProbe]);
}

#[test]
fn only_a_probe_or_an_upgrade_may_come_first() {
    for first in ["4message", "2", "3", "1", "6"] {
        let mut sim = Sim::new(Polling);
        sim.feed(Input::Arrived(Request::Probe));
        assert_eq!(sim.packet(WebSocket, first), [Output::DropProbe], "{first}");
        assert!(sim.message(Polling, "alive"));
    }
}

#[test]
fn a_second_websocket_is_refused_while_one_probes() {
    let mut sim = Sim::probed();
    assert_eq!(sim.feed(Input::Arrived(Request::Probe)), []);
    assert_eq!(sim.packet(WebSocket, "5"), [Output::Upgraded]);
}

#[test]
fn close_packet_from_the_client() {
    let mut sim = Sim::new(WebSocket);
    assert_eq!(sim.packet(WebSocket, "1"), [Output::Closed(CloseReason::TransportClose)]);
    let mut sim = Sim::new(Polling);
    sim.feed(Input::Arrived(Request::Poll));
    assert_eq!(sim.packet(Polling, "1"), [NOOP, Output::Closed(CloseReason::TransportClose)]);
    assert!(!sim.message(Polling, "after the close packet"));
    assert!(sim.session.is_closed());

    let mut late = Sim::new(Polling);
    assert_eq!(late.packet(Polling, "1"), [Output::Closed(CloseReason::TransportClose)]);
    assert!(!late.session.is_closed());
    assert_eq!(late.feed(Input::Arrived(Request::Post)), []);
    assert_eq!(late.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll), NOOP]);
    assert!(late.session.is_closed());

    let mut silent = Sim::new(Polling);
    silent.packet(Polling, "1");
    assert_eq!(silent.deadline(), Some(secs(5)));
    assert_eq!(silent.wake(), []);
    assert!(silent.session.is_closed());

    let mut probed = Sim::probed();
    assert_eq!(probed.packet(Polling, "1"), [Output::DropProbe, Output::Closed(CloseReason::TransportClose)]);
}

#[test]
fn close_by_the_application_in_every_state() {
    let forced = Output::Closed(CloseReason::ForcedClose);
    let close = Input::Close(CloseReason::ForcedClose);

    let mut websocket = Sim::new(WebSocket);
    assert_eq!(websocket.feed(close), [forced]);
    assert!(websocket.session.is_closed());

    let mut parked = Sim::new(Polling);
    parked.feed(Input::Arrived(Request::Poll));
    assert_eq!(parked.feed(close), [CLOSE, forced]);
    assert!(parked.session.is_closed());

    let mut waiting = Sim::new(Polling);
    assert_eq!(waiting.feed(close), [forced]);
    assert!(!waiting.session.is_closed());
    assert!(!waiting.message(Polling, "too late"));
    assert_eq!(waiting.feed(Input::Arrived(Request::Poll)), [Output::Accept(Request::Poll), CLOSE]);
    assert!(waiting.session.is_closed());

    let mut silent = Sim::new(Polling);
    silent.feed(close);
    assert_eq!(silent.deadline(), Some(secs(5)));
    assert_eq!(silent.wake(), []);
    assert!(silent.session.is_closed());

    let mut evicted = Sim::new(Polling);
    evicted.feed(close);
    assert_eq!(evicted.feed(Input::Close(CloseReason::SlowConsumer)), []);
    assert!(!evicted.session.is_closed());
    assert_eq!(evicted.feed(Input::Close(CloseReason::Evicted)), []);
    assert!(evicted.session.is_closed());

    let mut probing = Sim::probed();
    assert_eq!(probing.feed(close), [forced]);
    assert!(!probing.session.is_closed());
    assert_eq!(probing.packet(WebSocket, "5"), [Output::Finish(CloseReason::ForcedClose)]);
    assert!(probing.session.is_closed());
    assert_eq!(probing.feed(close), []);

    let mut posting = Sim::new(Polling);
    posting.feed(Input::Arrived(Request::Post));
    assert_eq!(posting.feed(close), [forced]);
    assert_eq!(posting.feed(Input::PostDone), []);
    assert_eq!(posting.feed(Input::Disconnected { request: Request::Post, error: true }), []);
}

#[test]
fn a_malformed_packet_ends_the_session() {
    let mut sim = Sim::new(WebSocket);
    assert_eq!(sim.feed(Input::Malformed(WebSocket)), [Output::Closed(CloseReason::ParseError)]);
    let mut sim = Sim::new(Polling);
    sim.feed(Input::Arrived(Request::Poll));
    assert_eq!(sim.feed(Input::Malformed(Polling)), [CLOSE, Output::Closed(CloseReason::ParseError)]);
}

#[test]
fn a_websocket_that_ends_tells_why() {
    for (error, reason) in [(false, CloseReason::TransportClose), (true, CloseReason::TransportError)] {
        let mut sim = Sim::new(WebSocket);
        assert_eq!(
            sim.feed(Input::Disconnected { request: Request::Probe, error }),
            [Output::Closed(reason)]
        );
    }
}
