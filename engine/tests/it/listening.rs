//! The limits of the accept loop, each at its exact value and one above.

use std::time::Duration;

use engineio::{EngineConfig, ListenConfig};
use tokio::time::Instant;

use crate::support::{Http, HttpResponse, Server, WebSocket, eventually, http};

const OPEN: &str = "EIO=4&transport=polling";

async fn server(config: ListenConfig) -> Server {
    Server::listen(EngineConfig::default(), config).await
}

/// Returns a request whose head is `len` bytes long.
fn head_of(len: usize) -> String {
    let start = format!("GET /engine.io/?{OPEN} HTTP/1.1\r\nHost: test\r\nX-Long: ");
    format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4))
}

/// Returns a request with `count` headers.
fn headers_of(count: usize) -> String {
    let more = "X-More: 1\r\n".repeat(count - 1);
    format!("GET /engine.io/?{OPEN} HTTP/1.1\r\nHost: test\r\n{more}\r\n")
}

async fn answer(server: &Server, request: &str) -> HttpResponse {
    let mut http = Http::connect(server).await;
    http.send(request).await;
    http.response().await
}

#[tokio::test]
async fn a_head_may_have_16_kib() {
    let server = server(ListenConfig::default()).await;
    assert_eq!(answer(&server, &head_of(16 * 1024)).await.status, 200);
    assert_eq!(answer(&server, &head_of(16 * 1024 + 1)).await.status, 431);
    assert_eq!(answer(&server, &head_of(100_000)).await.status, 431);
}

#[tokio::test]
async fn the_largest_head_is_what_the_config_says() {
    for len in [500, 40_000] {
        let server = server(ListenConfig::default().max_head(len)).await;
        assert_eq!(answer(&server, &head_of(len)).await.status, 200);
        assert_eq!(answer(&server, &head_of(len + 1)).await.status, 431);
    }
}

#[tokio::test]
async fn a_request_may_have_100_headers() {
    for (config, limit) in [(ListenConfig::default(), 100), (ListenConfig::default().max_headers(3_usize), 3)]
    {
        let server = server(config).await;
        assert_eq!(answer(&server, &headers_of(limit)).await.status, 200);
        assert_eq!(answer(&server, &headers_of(limit + 1)).await.status, 431);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_may_take_10_seconds() {
    let server = server(ListenConfig::default()).await;
    let request = head_of(200);
    let (start, end) = request.split_at(100);
    // The timeout starts with the first byte on a kept-alive connection, and with the accept on a new one.
    for kept in [false, true] {
        for (wait, in_time) in [(9_990, true), (10_010, false)] {
            let mut http = Http::connect(&server).await;
            if kept {
                assert_eq!(http.get(OPEN).await.status, 200);
                tokio::time::sleep(Duration::from_secs(30)).await;
                http.send(start).await;
            }
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if !kept {
                http.send(start).await;
            }
            http.send(end).await;
            if in_time {
                assert_eq!(http.response().await.status, 200);
            } else {
                // A client that has sent nothing gets no response.
                let answer = if kept { "HTTP/1.1 408 Request Timeout\r\n" } else { "" };
                let rest = http.rest().await;
                assert!(rest.starts_with(answer) && rest.is_empty() != kept, "kept: {kept}, {rest}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn byte_after_byte_does_not_prolong_the_time_for_a_head() {
    let server = server(ListenConfig::default()).await;
    let mut http = Http::connect(&server).await;
    assert_eq!(http.get(OPEN).await.status, 200);
    let start = Instant::now();
    for byte in head_of(200).bytes().take(20) {
        http.send([byte]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(http.rest().await.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(start.elapsed().as_secs() <= 20);
    assert_eq!(server.connections().open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_idle_for_75_seconds() {
    let server = server(ListenConfig::default()).await;
    let mut stream = server.connect().await;
    stream.patience = Duration::from_mins(2);
    let mut http = http(stream);
    for _ in 0..3 {
        assert_eq!(http.get(OPEN).await.status, 200);
        tokio::time::sleep(Duration::from_millis(74_990)).await;
    }
    assert_eq!(http.get(OPEN).await.status, 200);
    let start = Instant::now();
    assert_eq!(http.rest().await, "");
    assert!((74_990..75_010).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_more_than_allowed_is_told_to_come_back() {
    let server = server(ListenConfig::default().max_connections(2_usize)).await;
    let mut http = Http::connect(&server).await;
    assert_eq!(http.get(OPEN).await.status, 200);
    let mut websocket = WebSocket::open(&server).await;
    assert_eq!((server.connections().open(), server.connections().refused()), (2, 0));

    let mut refused = Http::connect(&server).await;
    let answer = refused.get(OPEN).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(refused.rest().await, "");
    assert_eq!((server.connections().open(), server.connections().refused()), (2, 1));

    // Open connections are unaffected, and a slot that becomes free is reused.
    websocket.send("4still here").await;
    assert_eq!(websocket.text().await, "4still here");
    assert_eq!(http.get(OPEN).await.status, 200);
    drop(websocket);
    eventually(|| server.connections().open() == 1).await;
    let mut next = Http::connect(&server).await;
    assert_eq!(next.get(OPEN).await.status, 200);
    drop(http);
    eventually(|| server.connections().open() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn refusals_are_bounded_in_number_and_time() {
    let server = server(ListenConfig::default().max_connections(1_usize)).await;
    let mut inside = Http::connect(&server).await;
    assert_eq!(inside.get(OPEN).await.status, 200);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut refused = Vec::new();
    for _ in 0..64 {
        refused.push(Http::connect(&server).await);
    }
    eventually(|| server.connections().refused() == 64).await;
    // Further connections are closed without a response. A response would have to wait for the rejected
    // clients, which do not read to the end.
    assert_eq!(Http::connect(&server).await.rest().await, "");
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks + 64);
    tokio::time::sleep(Duration::from_millis(1010)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks);
    for mut client in refused {
        assert!(client.rest().await.starts_with("HTTP/1.1 503 "));
    }
    assert_eq!(answer(&server, &head_of(200)).await.status, 503);
}

#[test]
fn the_default_leaves_descriptors_for_the_application() {
    let descriptors = rlimit::Resource::NOFILE.get_soft().unwrap();
    let max = ListenConfig::default().get_max_connections() as u64;
    assert!(max < descriptors && (1..=1_000_000).contains(&max));
    assert!(max >= descriptors / 10 * 9 || max == 1_000_000);
}

#[test]
#[should_panic(expected = "max_connections must not be zero")]
fn no_connection_at_all_is_a_mistake() {
    let _ = engineio::Connections::new(ListenConfig::default().max_connections(0_usize));
}
