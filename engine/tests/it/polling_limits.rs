//! The exact size limits of polling requests.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, Frame, Limit, SendError};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Http, Polling, Server, eventually, parked, payload};

const MAX: usize = 1000;

async fn server() -> Server {
    Server::start(EngineConfig::default().max_http_buffer_size(MAX)).await
}

/// Returns a body of `len` bytes that ends with a three-byte character.
fn body(len: usize) -> String {
    format!("4{}€", "x".repeat(len - 4))
}

fn chunked(body: &str) -> String {
    let (first, second) = body.split_at(MAX / 2);
    let second =
        if second.is_empty() { String::new() } else { format!("{:x}\r\n{second}\r\n", second.len()) };
    format!("{:x}\r\n{first}\r\n{second}0\r\n\r\n", first.len())
}

#[tokio::test]
async fn a_body_may_be_as_large_as_a_message() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    client.send(body(MAX)).await;
    assert_eq!(client.poll().await, body(MAX));

    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    client.post.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunked(&body(MAX)))).await;
    assert_eq!(client.post.response().await.body, "ok");
    assert_eq!(client.poll().await, body(MAX));
    assert_eq!(server.engine.limit_hits(Limit::MaxHttpBufferSize), 0);
}

#[tokio::test]
async fn a_body_of_one_byte_more_is_refused_by_its_length() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    // The request is rejected before the body is sent.
    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    client.post.send(format!("{head}Content-Length: {}\r\n\r\n", MAX + 1)).await;
    let answer = client.post.response().await;
    assert_eq!((answer.status, answer.body.as_str()), (413, ""));
    assert_eq!((answer.header("content-type"), answer.header("content-length")), (None, Some("0")));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.post.rest().await, "");
    assert_eq!(server.end().await, CloseReason::TransportError);
    assert!(client.is_gone(&server).await);
    assert_eq!(server.engine.limit_hits(Limit::MaxHttpBufferSize), 1);
}

#[tokio::test]
async fn a_body_of_one_byte_more_is_refused_while_it_comes() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    client.post.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunked(&body(MAX + 1)))).await;
    let answer = client.post.response().await;
    assert_eq!((answer.status, answer.body.as_str()), (413, ""));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.post.rest().await, "");
    assert_eq!(server.end().await, CloseReason::TransportError);
    assert!(client.is_gone(&server).await);
    assert_eq!(server.engine.limit_hits(Limit::MaxHttpBufferSize), 1);
}

/// The official client reports whichever error arrives first. A response to the poll would hide the cause.
#[tokio::test(start_paused = true)]
async fn the_poll_of_a_client_whose_body_is_too_large_waits_until_it_has_heard_so() {
    for chunks in [false, true] {
        let mut server = Server::in_memory(EngineConfig::default().max_http_buffer_size(MAX));
        let mut client = Polling::open(&server).await;
        let session = server.session().await;
        client.start_poll().await;
        parked(&session).await;
        let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
        let request = if chunks {
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunked(&body(MAX + 1)))
        } else {
            format!("{head}Content-Length: {}\r\n\r\n{}", MAX + 1, body(MAX + 1))
        };
        client.post.send(request).await;
        let answer = client.post.response().await;
        assert_eq!((answer.status, answer.body.as_str()), (413, ""));
        // For the application, the session is closed.
        assert_eq!(server.end().await, CloseReason::TransportError);
        assert_eq!(session.send(&[Frame::text("late")]), Err(SendError::Closed));
        assert!(timeout(Duration::from_millis(4_900), client.get.response()).await.is_err());
        // A client that keeps polling receives the close packet.
        let answer = client.get.response().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "1"));
        assert!(client.is_gone(&server).await);
    }
}

/// After the 413, the client closes its session and aborts its poll.
#[tokio::test]
async fn a_client_whose_body_was_too_large_may_close_its_session() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    assert_eq!(client.post(body(MAX + 1)).await.status, 413);
    assert_eq!(server.end().await, CloseReason::TransportError);
    client.post = Http::connect(&server).await;
    client.send("1").await;
    drop(client.get);
    eventually(|| server.engine.session_count() == 0).await;
    assert!(server.no_more_ends());
}

/// Holds for any size. A reset after the response would discard the response at the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_all_of_a_large_body_first_gets_the_answer() {
    let mut server = server().await;
    for _ in 0..20 {
        let mut client = Polling::open(&server).await;
        let answer = client.post("x".repeat(10_000_000)).await;
        assert_eq!((answer.status, answer.body.as_str()), (413, ""));
        assert_eq!(server.end().await, CloseReason::TransportError);
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let mut server = server().await;
    let client = Polling::open(&server).await;
    let mut post = Http::connect(&server).await;
    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    post.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    let chunk = format!("100\r\n{}\r\n", "x".repeat(0x100));
    for _ in 0..10_000 {
        post.send(&chunk).await;
    }
    assert!(post.rest().await.starts_with("HTTP/1.1 413 "));
    assert_eq!(server.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn an_answer_has_no_limit_but_what_may_wait() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    for _ in 0..3 {
        client.send(body(MAX)).await;
    }
    assert_eq!(client.poll().await, payload(&[&body(MAX), &body(MAX), &body(MAX)]));
}

#[tokio::test]
async fn the_head_of_a_request_is_limited() {
    let server = server().await;
    for headers in [format!("X-Large: {}\r\n", "x".repeat(17 * 1024)), "X-Many: 1\r\n".repeat(101)] {
        let mut http = Http::connect(&server).await;
        http.start("GET", "EIO=4&transport=polling", &headers, "").await;
        assert!(http.rest().await.starts_with("HTTP/1.1 431 "), "{}", headers.len());
    }
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn a_body_may_hold_as_many_packets_as_its_size_allows() {
    let config = EngineConfig::default();
    let count = config.get_max_http_buffer_size() / 2;
    let mut server = Server::start(config).await;
    let mut client = Polling::open(&server).await;
    let full = payload(&vec!["4"; count]);
    client.send(&full).await;
    let mut polled = client.poll().await;
    while polled.len() < full.len() {
        polled += "\u{1e}";
        polled += &client.poll().await;
    }
    assert!(polled == full);
    assert!(server.no_more_ends());
}

/// Starts a POST with a body of `len` bytes.
async fn start(client: &mut Polling, len: usize) {
    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    client.post.send(format!("{head}Content-Length: {len}\r\n\r\n4")).await;
}

/// Expects the response that a slow client must get at this point.
async fn timed_out(server: &mut Server, client: &mut Polling) {
    let answer = client.post.response().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert_eq!(answer.body, r#"{"code":3,"message":"Request timeout"}"#);
    assert_eq!(server.end().await, CloseReason::TransportError);
    assert!(client.is_gone(server).await);
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_body_that_pauses_is_given_up() {
    for sent in [0, 200_000] {
        let mut server = Server::in_memory(EngineConfig::default());
        let mut client = Polling::open(&server).await;
        start(&mut client, 300_000).await;
        client.post.send("x".repeat(sent)).await;
        let start = Instant::now();
        timed_out(&mut server, &mut client).await;
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(server.engine.limit_hits(Limit::BodyTimeout), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_may_come_at_the_minimum_rate() {
    let server = Server::in_memory(EngineConfig::default());
    let mut client = Polling::open(&server).await;
    start(&mut client, 1 + 1024 * 100).await;
    for _ in 0..100 {
        sleep(SECOND).await;
        client.post.send("x".repeat(1024)).await;
    }
    assert_eq!(client.post.response().await.body, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_more_slowly_is_given_up() {
    let mut server = Server::in_memory(EngineConfig::default());
    let mut client = Polling::open(&server).await;
    let begun = Instant::now();
    start(&mut client, 500_000).await;
    // At half of the required rate, the client is 30 s behind after a minute, which is exactly the allowance.
    while begun.elapsed() < SECOND * 59 {
        sleep(SECOND).await;
        client.post.send("x".repeat(512)).await;
    }
    assert_eq!(server.engine.limit_hits(Limit::MinBodyRate), 0);
    timed_out(&mut server, &mut client).await;
    assert_eq!(begun.elapsed().as_secs(), 59);
    assert_eq!(server.engine.limit_hits(Limit::MinBodyRate), 1);
}
