//! Attacks on the HTTP level: requests that hyper rejects, and clients that are slow on purpose.

use std::time::Duration;

use socketio::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::stage::{Stage, engine};
use crate::support::{Polling, within};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn rustsec_2021_0020_0078_0079_2020_0008_requests_that_smuggle() {
    let stage = Stage::new().await;
    let client = Polling::open(&stage.host).await;
    let post = format!("POST {} HTTP/1.1\r\nHost: test\r\n", client.target);
    let body = "1\r\n1\r\n0\r\n\r\n";
    for (what, request) in [
        ("two codings", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n{body}")),
        ("an unknown coding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n{body}")),
        ("a signed length", format!("{post}Content-Length: +1\r\n\r\n1")),
        ("two lengths", format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\n1")),
        ("a length of words", format!("{post}Content-Length: one\r\n\r\n1")),
        (
            "a chunk of 17 digits",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nf0000000000000003\r\n1\r\n"),
        ),
        ("a space before the colon", format!("{post}Content-Length : 1\r\n\r\n1")),
        ("a folded header", format!("{post}Content-Length: 1\r\n X: y\r\n\r\n1")),
        ("a header without a name", format!("{post}: 1\r\n\r\n")),
        ("a zero in a header", format!("{post}X: \0\r\n\r\n")),
        ("a broken preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n".to_owned()),
        ("no HTTP", "\u{16}\u{3}\u{1}\u{2}".repeat(50)),
    ] {
        let answer = stage.raw(request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), usize::from(!answer.is_empty()), "{what}: {answer}");
    }
    drop(client);
    stage.goes_on().await;
}

#[tokio::test]
async fn rustsec_2021_0020_a_length_beside_chunks_does_not_count() {
    let stage = Stage::new().await;
    let get = format!("GET {POLLING} HTTP/1.1\r\nHost: test\r\n");
    for request in [
        // RFC 9112, section 6.3: `Transfer-Encoding` overrides `Content-Length` and the connection is closed,
        // or the request is rejected.
        format!(
            "{get}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        ),
        // The body of a GET must not be parsed as a second request.
        format!("{get}Content-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    ] {
        let mut stream = stage.host.connect().await;
        within(stream.write_all(request.as_bytes())).await.unwrap();
        within(stream.shutdown()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(!answer.contains("HTTP/1.1 404"), "a second request was read: {answer}");
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn hyper_heads_beyond_the_limit() {
    let stage = Stage::new().await;
    for len in [17_000, 100_000, 400_000] {
        for request in [
            format!("GET {POLLING} HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(len)),
            format!("GET {POLLING}&x={} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(len)),
        ] {
            let answer = stage.raw(request).await;
            // The connection may be reset before a client that is still sending has read the response.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn hyper_slowloris() {
    let stage = Stage::with(
        ServerConfig::default()
            .engine(engine().ping_interval(Duration::from_secs(4)).ping_timeout(Duration::from_secs(4))),
    )
    .await;
    let start = Instant::now();
    let silent = stage.host.connect().await;
    let mut heading = stage.host.connect().await;
    within(heading.write_all(b"GET /socket.io/ HTTP/1.1\r\nHost: te")).await.unwrap();
    let mut posting = stage.host.connect().await;
    let client = Polling::open(&stage.host).await;
    let head = format!("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: 99\r\n\r\n4", client.target);
    within(posting.write_all(head.as_bytes())).await.unwrap();
    for mut stream in [silent, heading, posting] {
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
    drop(client);
    stage.goes_on().await;
}
