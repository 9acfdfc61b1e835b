//! The heartbeat, on a virtual clock.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, Frame};
use tokio::time::{Instant, advance, sleep};

use crate::support::{Polling, Server, WebSocket, Wire, eventually, frame, payload};

const SECOND: Duration = Duration::from_secs(1);

fn server() -> Server {
    Server::in_memory(EngineConfig::default())
}

/// Returns the elapsed time in whole seconds.
fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_answers_stays() {
    let server = server();
    let mut client = WebSocket::open(&server).await;
    let start = Instant::now();
    for ping in 1..=100 {
        assert_eq!(client.text().await, "2");
        assert_eq!(seconds(start), ping * 25);
        client.send("3").await;
    }
    client.send("4alive").await;
    assert_eq!(client.text().await, "4alive");
}

#[tokio::test(start_paused = true)]
async fn a_silent_websocket_is_closed() {
    let mut server = server();
    let mut client = Wire::open(&server).await;
    let start = Instant::now();
    assert_eq!(client.text().await, "2");
    assert_eq!(client.ended().await, (1008, "ping timeout".into()));
    assert_eq!(seconds(start), 45);
    assert_eq!(server.end().await, CloseReason::PingTimeout);
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn the_heartbeat_runs_over_sockets_too() {
    let config = EngineConfig::default()
        .ping_interval(Duration::from_millis(30))
        .ping_timeout(Duration::from_millis(200));
    let mut server = Server::start(config).await;
    let mut client = Wire::open(&server).await;
    for _ in 0..5 {
        assert_eq!(client.text().await, "2");
        client.send(frame(0x81, "3")).await;
    }
    assert_eq!(client.text().await, "2");
    assert_eq!(client.ended().await, (1008, "ping timeout".into()));
    assert_eq!(server.end().await, CloseReason::PingTimeout);
}

/// The order in which the runtime polls timers and connections is random.
#[tokio::test(start_paused = true)]
async fn a_poll_that_arrives_when_the_time_is_over_is_too_late() {
    for (rest, status) in [(18, 200), (19, 400)] {
        let server = Server::in_memory(EngineConfig::default());
        let mut client = Polling::open(&server).await;
        sleep(26 * SECOND).await;
        client.start_poll().await;
        advance(rest * SECOND).await;
        assert_eq!(client.get.response().await.status, status, "{rest} s later");
    }
}

#[tokio::test(start_paused = true)]
async fn any_byte_proves_life() {
    let mut server = Server::in_memory(EngineConfig::default().message_timeout(100 * SECOND));
    let mut client = Wire::open(&server).await;
    let start = Instant::now();
    assert_eq!(client.text().await, "2");
    // A frame that takes a minute to arrive.
    for byte in frame(0x81, "4slow") {
        sleep(6 * SECOND).await;
        client.send([byte]).await;
    }
    assert_eq!(client.text().await, "4slow");
    assert_eq!(client.ended().await, (1008, "ping timeout".into()));
    assert_eq!(seconds(start), 25 + 11 * 6 + 20);
    assert_eq!(server.end().await, CloseReason::PingTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_but_does_not_answer_keeps_its_session() {
    let server = server();
    let mut client = Wire::open(&server).await;
    assert_eq!(client.text().await, "2");
    for _ in 0..10 {
        sleep(19 * SECOND).await;
        client.send(frame(0x81, "4busy")).await;
        assert_eq!(client.text().await, "4busy");
    }
}

#[tokio::test(start_paused = true)]
async fn a_polling_client_that_answers_stays() {
    let server = server();
    let mut client = Polling::open(&server).await;
    let start = Instant::now();
    for ping in 1..=20 {
        assert_eq!(client.poll().await, "2");
        assert_eq!(seconds(start), ping * 25);
        client.send("3").await;
    }
    client.send("4alive").await;
    assert_eq!(client.poll().await, "4alive");
}

#[tokio::test(start_paused = true)]
async fn a_silent_polling_client_is_forgotten() {
    let mut server = server();
    let client = Polling::open(&server).await;
    let start = Instant::now();
    assert_eq!(server.end().await, CloseReason::PingTimeout);
    assert_eq!(seconds(start), 45);
    assert!(client.is_gone(&server).await);

    let mut client = Polling::open(&server).await;
    assert_eq!(client.poll().await, "2");
    assert_eq!(client.poll().await, "1");
    assert_eq!(server.end().await, CloseReason::PingTimeout);
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_pongs_but_does_not_poll_ends() {
    for (len, end) in [(0, 45), (900_000, 45 + 54)] {
        let mut server = server();
        let mut client = Polling::open(&server).await;
        let session = server.session().await;
        let start = Instant::now();
        if len > 0 {
            // A client that reads a large response slowly has more time.
            session.send(&[Frame::text(&"x".repeat(len))]).unwrap();
            client.start_poll().await;
            eventually(|| session.buffered() == 0).await;
        }
        while server.no_more_ends() && seconds(start) < 1000 {
            sleep(SECOND).await;
            // A pong without a ping proves nothing.
            client.post("3").await;
        }
        assert_eq!(seconds(start), end);
        assert!(client.is_gone(&server).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_long_to_read_a_response_stays() {
    let mut server = server();
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    let start = Instant::now();
    session.send(&[Frame::text(&"x".repeat(900_000))]).unwrap();
    client.start_poll().await;
    sleep(98 * SECOND).await;
    assert_eq!(client.polled().await.len(), 900_001);
    assert_eq!(client.poll().await, "2");
    assert_eq!(seconds(start), 98);
    assert_eq!(client.poll().await, "1");
    assert_eq!(seconds(start), 98 + 20);
    assert_eq!(server.end().await, CloseReason::PingTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_ping_waits_for_the_next_poll_with_the_messages() {
    let mut server = server();
    let mut client = Polling::open(&server).await;
    server.session().await.send(&[Frame::text("news")]).unwrap();
    sleep(30 * SECOND).await;
    assert_eq!(client.poll().await, payload(&["2", "4news"]));
}

#[tokio::test(start_paused = true)]
async fn a_long_upload_proves_life() {
    let mut server = Server::in_memory(EngineConfig::default().min_body_rate(0));
    let mut client = Polling::open(&server).await;
    let body = format!("4{}", "x".repeat(20));
    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    client.post.send(format!("{head}Content-Length: {}\r\n\r\n", body.len())).await;
    for byte in body.bytes() {
        sleep(5 * SECOND).await;
        client.post.send([byte]).await;
    }
    assert!(server.no_more_ends(), "the session ended during the upload");
    assert_eq!(client.post.response().await.body, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_client_is_not_blamed_while_the_application_does_not_read() {
    let mut server = server();
    let mut client = WebSocket::open(&server).await;
    client.send("4pause").await;
    assert_eq!(client.text().await, "2");
    client.send("3").await;
    sleep(270 * SECOND).await;
    assert!(server.no_more_ends(), "the pong was there, but nobody read it");
    server.gate().open();
    client.send("4alive").await;
    loop {
        match client.text().await.as_str() {
            "2" => client.send("3").await,
            text => break assert_eq!(text, "4alive"),
        }
    }
}
