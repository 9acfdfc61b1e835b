//! The minimum speed at which a WebSocket client must read and send, on a virtual clock.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, Frame, Limit};
use tokio::time::{Instant, sleep};

use crate::support::{Server, WebSocket, Wire, frame};

const SECOND: Duration = Duration::from_secs(1);

/// Disables the heartbeat for the duration of a test.
fn config() -> EngineConfig {
    EngineConfig::default().ping_interval(Duration::from_hours(1))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_disconnected_in_time() {
    let mut server = Server::with_buffers(config(), 1000);
    let client = WebSocket::open(&server).await;
    let session = server.session().await;
    sleep(SECOND * 100).await;
    let start = Instant::now();
    session.send(&[Frame::text(&"x".repeat(10_000))]).unwrap();
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert_eq!(start.elapsed().as_secs(), 15);
    assert_eq!(server.engine.limit_hits(Limit::WriteTimeout), 1);
    assert_eq!(server.engine.session_count(), 0);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_bytes_slowly_but_steadily_stays() {
    let mut server = Server::with_buffers(config(), 100);
    let mut client = Wire::open(&server).await;
    let session = server.session().await;
    let start = Instant::now();
    session.send(&[Frame::text(&"x".repeat(2000))]).unwrap();
    for _ in 0..19 {
        sleep(SECOND * 14).await;
        client.read_some().await;
    }
    assert_eq!(client.text().await.len(), 2001);
    assert!(start.elapsed() > SECOND * 250);
    client.send(frame(0x81, "4alive")).await;
    assert_eq!(client.text().await, "4alive");
    // Nothing is queued, so the write timeout does not run.
    sleep(SECOND * 1000).await;
    assert!(server.no_more_ends());
    assert_eq!(server.engine.limit_hits(Limit::WriteTimeout), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_must_be_complete_in_time() {
    for part in [frame(0x01, "4a"), frame(0x81, "4abc")[..7].to_vec(), vec![0x81]] {
        let mut server = Server::in_memory(config());
        let mut client = Wire::open(&server).await;
        client.send(frame(0x81, "4before")).await;
        assert_eq!(client.text().await, "4before");
        let start = Instant::now();
        client.send(&part).await;
        assert_eq!(client.ended().await, (1008, "transport error".into()));
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(server.end().await, CloseReason::TransportError);
        assert_eq!(server.engine.limit_hits(Limit::MessageTimeout), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_one_by_one_and_pings_do_not_gain_time() {
    let mut server = Server::in_memory(config());
    let mut client = Wire::open(&server).await;
    let start = Instant::now();
    client.send(frame(0x01, "4a")).await;
    for _ in 0..29 {
        sleep(SECOND).await;
        client.send(frame(0x00, "b")).await;
        client.send(frame(0x89, "")).await;
        assert_eq!(client.frame().await, Some((0x8a, Vec::new())));
    }
    assert_eq!(client.ended().await, (1008, "transport error".into()));
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(server.end().await, CloseReason::TransportError);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_in_time_is_taken_and_the_next_has_its_own() {
    let server = Server::in_memory(config());
    let mut client = Wire::open(&server).await;
    client.send(frame(0x01, "4a")).await;
    for _ in 0..5 {
        sleep(SECOND * 29).await;
        // One write completes a message and starts the next one.
        client.send([frame(0x80, "b"), frame(0x01, "4a")].concat()).await;
        assert_eq!(client.text().await, "4ab");
    }
    assert_eq!(server.engine.limit_hits(Limit::MessageTimeout), 0);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_not_ready_costs_the_client_no_time() {
    let server = Server::in_memory(config());
    let mut client = Wire::open(&server).await;
    client.send([frame(0x81, "4pause"), frame(0x01, "4a")].concat()).await;
    sleep(SECOND * 100).await;
    server.gate().open();
    client.send(frame(0x80, "b")).await;
    assert_eq!(client.text().await, "4ab");
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_up_to_the_limit() {
    let server = Server::in_memory(config());
    let mut client = Wire::open(&server).await;
    for second in 1..=3 {
        client.send(frame(0x89, "?").repeat(11)).await;
        client.send(frame(0x81, "4end")).await;
        for _ in 0..10 {
            assert_eq!(client.frame().await, Some((0x8a, b"?".to_vec())));
        }
        assert_eq!(client.text().await, "4end");
        assert_eq!(server.engine.limit_hits(Limit::MaxPingsPerSecond), second);
        sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_ends_the_session() {
    let mut server = Server::in_memory(config().max_pings_per_second(2));
    let mut client = Wire::open(&server).await;
    client.send(frame(0x89, "").repeat(20)).await;
    client.send(frame(0x81, "4alive")).await;
    for _ in 0..2 {
        assert_eq!(client.frame().await, Some((0x8a, Vec::new())));
    }
    assert_eq!(client.text().await, "4alive");
    client.send(frame(0x89, "")).await;
    assert_eq!(client.ended().await, (1008, "transport error".into()));
    assert_eq!(server.end().await, CloseReason::TransportError);
    assert_eq!(server.engine.limit_hits(Limit::MaxPingsPerSecond), 19);
}
