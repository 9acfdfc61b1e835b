//! Tests each limit at its value and one above.

use socketio::{ConnectionStateRecovery, EngineConfig};

use super::{Visitor, config, host, host_with, noticed};
use crate::support::eventually;

#[tokio::test]
async fn the_number_of_missed_events_is_limited_exactly() {
    for (missed, expected) in [(512, true), (513, false)] {
        let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
        let gone = Visitor::new(&host).await.cut();
        let socket = connected.next().await;
        noticed(&host).await;
        for n in 0..missed {
            host.io.of("/").emit("e", &n).unwrap();
            host.io.to("elsewhere").emit("no", &n).unwrap();
        }
        let (mut visitor, recovered) = gone.come_back(&host).await;
        assert_eq!(recovered, expected);
        host.io.of("/").emit("end", &()).unwrap();
        assert_eq!(visitor.until("end").await.len(), if expected { missed } else { 0 });
        assert!(!socket.connected());
    }
}

#[tokio::test]
async fn the_bytes_of_missed_events_fit_into_the_queue() {
    let config = config(ConnectionStateRecovery::default());
    let engine: EngineConfig = config.get_engine().clone().max_buffered(10_000_usize);
    let (host, mut connected) = host_with(config.engine(engine)).await;
    for (text, expected) in [("x".repeat(9_000), true), ("x".repeat(10_000), false)] {
        let gone = Visitor::new(&host).await.cut();
        connected.next().await;
        noticed(&host).await;
        host.io.of("/").emit("e", &text).unwrap();
        let (mut visitor, recovered) = gone.come_back(&host).await;
        assert_eq!(recovered, expected);
        connected.next().await.emit("end", &()).unwrap();
        assert_eq!(visitor.until("end").await.len(), usize::from(expected));
        visitor.client.close().await;
        host.deserted("/").await;
    }
}

#[tokio::test]
async fn the_number_of_sockets_is_limited_exactly() {
    let limits = ConnectionStateRecovery::default().max_sessions(2_usize);
    let (host, mut connected) = host(limits).await;
    let mut gone = Vec::new();
    for _ in 0..3 {
        gone.push(Visitor::new(&host).await.cut());
        let socket = connected.next().await;
        eventually(|| !socket.connected()).await;
    }
    let mut recovered = Vec::new();
    for gone in gone {
        let (visitor, is_recovered) = gone.come_back(&host).await;
        recovered.push((visitor, is_recovered));
    }
    let recovered: Vec<bool> = recovered.iter().map(|(_, recovered)| *recovered).collect();
    assert_eq!(recovered, [false, true, true], "the oldest is forgotten");
}

#[tokio::test]
async fn who_needs_a_forgotten_event_is_told_so() {
    let limits = ConnectionStateRecovery::default().max_bytes(10_000_usize);
    let (host, mut connected) = host(limits).await;
    let text = "x".repeat(1_000);
    for (missed, expected) in [(7, true), (20, false)] {
        let gone = Visitor::new(&host).await.cut();
        let socket = connected.next().await;
        eventually(|| !socket.connected()).await;
        for _ in 0..missed {
            host.io.to("elsewhere").emit("e", &text).unwrap();
        }
        assert_eq!(gone.come_back(&host).await.1, expected);
        connected.next().await;
    }
}

#[tokio::test]
async fn a_quiet_client_of_a_busy_namespace_comes_back() {
    let limits = ConnectionStateRecovery::default().max_bytes(10_000_usize);
    let (host, mut connected) = host(limits).await;
    let mut visitor = Visitor::new(&host).await;
    let socket = connected.next().await;
    socket.emit("e", &1).unwrap();
    visitor.event().await;
    // These events push the socket's own event out of the buffer before it disconnects.
    for _ in 0..20 {
        host.io.to("elsewhere").emit("e", &"x".repeat(1_000)).unwrap();
    }
    let gone = visitor.cut();
    noticed(&host).await;
    assert!(gone.come_back(&host).await.1);
}
