//! The sizes that a request may have, exactly.

use engineio::{CloseReason, EngineConfig, Limit};

use crate::support::{Http, Polling, Server, payload};

const MAX: usize = 1000;

async fn server() -> Server {
    Server::start(EngineConfig::default().max_http_buffer_size(MAX)).await
}

/// A body of so many bytes, with a character of three bytes at its end.
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
    assert_eq!(client.post.answer().await.body, "ok");
    assert_eq!(client.poll().await, body(MAX));
    assert_eq!(server.engine.limit_hits(Limit::MaxHttpBufferSize), 0);
}

#[tokio::test]
async fn a_body_of_one_byte_more_is_refused_by_its_length() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    // The body does not even come.
    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    client.post.send(format!("{head}Content-Length: {}\r\n\r\n", MAX + 1)).await;
    let answer = client.post.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (413, ""));
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
    let answer = client.post.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (413, ""));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.post.rest().await, "");
    assert_eq!(server.end().await, CloseReason::TransportError);
    assert!(client.is_gone(&server).await);
    assert_eq!(server.engine.limit_hits(Limit::MaxHttpBufferSize), 1);
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
