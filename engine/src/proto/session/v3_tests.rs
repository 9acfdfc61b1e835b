//! Tests of a protocol 3 session on a virtual clock. Only the direction of the heartbeat differs from
//! protocol 4.

use std::time::Duration;

use crate::proto::{
    dialect::Revision,
    packet::{
        Packet,
        TransportKind::{self, Polling, WebSocket},
    },
    session::{CloseReason, End, Input, Output, Request, tests::Sim},
};

fn sim(transport: TransportKind) -> Sim {
    Sim::speaking(Revision::V3, transport)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const TIMED_OUT: [Output; 1] = [Output::Closed(CloseReason::PingTimeout)];

#[test]
fn the_server_never_pings_and_waits_for_interval_and_timeout() {
    for transport in [Polling, WebSocket] {
        let mut sim = sim(transport);
        assert_eq!(sim.deadline(), Some(secs(45)));
        assert_eq!(sim.wake(), TIMED_OUT);
        assert!(sim.session.is_closed());
    }
}

#[test]
fn a_ping_is_answered_and_restarts_the_wait() {
    for ping in ["2", "2probe"] {
        let mut sim = sim(WebSocket);
        sim.now += secs(25);
        assert_eq!(sim.packet(WebSocket, ping), [Output::Ping], "{ping}");
        assert_eq!(sim.deadline(), Some(secs(25 + 45)));
    }
}

#[test]
fn pings_that_come_together_have_one_answer() {
    let mut sim = sim(WebSocket);
    for _ in 0..1000 {
        assert_eq!(sim.session.receive(sim.now, WebSocket, Packet::Ping { probe: false }), None);
    }
    assert_eq!(sim.drain(), [Output::Ping]);
    assert_eq!(sim.packet(WebSocket, "2"), [Output::Ping]);
}

#[test]
fn any_byte_proves_life() {
    let mut sim = sim(WebSocket);
    sim.now += secs(44);
    sim.session.record_activity(sim.now);
    assert_eq!(sim.deadline(), Some(secs(44 + 45)));
    sim.now += secs(44);
    assert!(sim.message(WebSocket, "busy"));
    assert_eq!(sim.deadline(), Some(secs(88 + 45)));
    assert_eq!(sim.wake(), TIMED_OUT);
}

#[test]
fn a_ping_over_polling_is_answered_by_the_poll() {
    let mut parked = sim(Polling);
    parked.feed(Input::Arrived(Request::Poll));
    assert_eq!(parked.packet(Polling, "2"), [Output::Respond { ping: true, end: None }]);

    let mut later = sim(Polling);
    assert_eq!(later.packet(Polling, "2"), []);
    assert_eq!(
        later.feed(Input::Arrived(Request::Poll)),
        [Output::Accept(Request::Poll), Output::Respond { ping: true, end: None }]
    );
}

#[test]
fn the_heartbeat_outlives_the_upgrade() {
    let mut sim = sim(Polling);
    assert_eq!(sim.packet(Polling, "2"), []);
    sim.now += secs(20);
    sim.feed(Input::Arrived(Request::Probe));
    assert_eq!(sim.packet(WebSocket, "2probe"), [Output::ProbePong]);
    assert_eq!(sim.packet(WebSocket, "5"), [Output::Upgraded, Output::Ping]);
    assert_eq!(sim.deadline(), Some(secs(20 + 45)));
    assert_eq!(sim.packet(WebSocket, "2probe"), [Output::Ping]);
    assert_eq!(sim.wake(), TIMED_OUT);
}

#[test]
fn a_failed_probe_does_not_touch_the_heartbeat() {
    let mut sim = sim(Polling);
    sim.feed(Input::Arrived(Request::Probe));
    assert_eq!(sim.wake(), [Output::DropProbe]);
    assert_eq!(sim.deadline(), Some(secs(45)));
    assert_eq!(sim.wake(), TIMED_OUT);
}

#[test]
fn a_pong_from_the_client_is_an_error() {
    let mut websocket = sim(WebSocket);
    assert_eq!(websocket.packet(WebSocket, "3"), [Output::Closed(CloseReason::TransportError)]);

    let mut parked = sim(Polling);
    parked.feed(Input::Arrived(Request::Poll));
    let close = Output::Respond { ping: false, end: Some(End::Close) };
    assert_eq!(parked.packet(Polling, "3"), [close, Output::Closed(CloseReason::TransportError)]);
}
