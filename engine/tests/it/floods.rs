//! Floods of packets that the engine responds to itself, from clients that do not read the responses.

use std::time::Duration;

use engineio::{EngineConfig, Frame};
use tokio::time::sleep;

use crate::support::{Polling, Server, Wire, frame, parked};

/// Disables the heartbeat for the duration of a test.
fn config() -> EngineConfig {
    EngineConfig::default().ping_interval(Duration::from_hours(1)).allow_eio3(true)
}

#[tokio::test(start_paused = true)]
async fn pings_of_protocol_3_have_one_answer_at_a_time() {
    let mut server = Server::with_buffers(config(), 4096);
    let mut client = Wire::connect(&server, "EIO=3&transport=websocket").await;
    assert!(client.text().await.starts_with("0{"));
    let session = server.session().await;
    for _ in 0..3 {
        // The buffers of the connection are full.
        session.send(&[Frame::text(&"x".repeat(10_000)), Frame::text("last")]).unwrap();
        sleep(Duration::from_secs(1)).await;
        client.send(frame(0x81, "2").repeat(20_000)).await;
        client.send(frame(0x81, "4after")).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(client.text().await.len(), 10_001);
        assert_eq!(client.text().await, "3");
        assert_eq!(client.text().await, "4last");
        assert_eq!(client.text().await, "4after");
        parked(&session).await;
        // A client that reads receives one response per ping.
        for _ in 0..3 {
            client.send(frame(0x81, "2")).await;
            assert_eq!(client.text().await, "3");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn websocket_pings_have_a_few_answers_at_a_time() {
    let mut server = Server::with_buffers(config().max_pings_per_second(u32::MAX), 4096);
    let mut client = Wire::open(&server).await;
    let session = server.session().await;
    for _ in 0..3 {
        session.send(&[Frame::text(&"x".repeat(10_000)), Frame::text("last")]).unwrap();
        sleep(Duration::from_secs(1)).await;
        client.send(frame(0x89, "?").repeat(20_000)).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(client.text().await.len(), 10_001);
        for _ in 0..16 {
            assert_eq!(client.frame().await, Some((0x8a, b"?".to_vec())));
        }
        assert_eq!(client.text().await, "4last");
        parked(&session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_answered_once() {
    let server = Server::in_memory(config());
    let mut polling = Polling::open(&server).await;
    for _ in 0..3 {
        let mut websocket = Wire::connect(&server, &polling.upgrade_query()).await;
        websocket.send(frame(0x81, "2probe").repeat(20_000)).await;
        assert_eq!(websocket.text().await, "3probe");
        assert_eq!(websocket.ended().await, (1000, String::new()));
        polling.send("4alive").await;
        assert_eq!(polling.poll().await, "4alive");
    }
}
