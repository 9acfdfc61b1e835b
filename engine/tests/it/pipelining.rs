//! Pipelined requests, which are sent before the responses to earlier requests.

use engineio::{EngineConfig, Limit};

use crate::support::{Http, Polling, Server, UPGRADE};

const OPEN: &str = "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn sessions_that_open_in_one_piece_are_limited_exactly() {
    for (config, limit) in [
        (EngineConfig::default(), 4),
        (EngineConfig::default().max_pipelined_handshakes(0_u32), 0),
        (EngineConfig::default().max_pipelined_handshakes(100_u32), 100),
    ] {
        let server = Server::start(config).await;
        // The first request is not queued behind another one.
        let mut http = Http::connect(&server).await;
        http.send(OPEN.repeat(1 + limit)).await;
        for _ in 0..=limit {
            assert_eq!(http.response().await.status, 200);
        }
        assert_eq!(server.engine.limit_hits(Limit::MaxPipelinedHandshakes), 0);

        let mut http = Http::connect(&server).await;
        http.send(OPEN.repeat(18_000)).await;
        for _ in 0..=limit {
            assert_eq!(http.response().await.status, 200);
        }
        let answer = http.response().await;
        assert_eq!((answer.status, answer.header("connection")), (429, Some("close")));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(http.rest().await, "");
        assert_eq!(server.engine.limit_hits(Limit::MaxPipelinedHandshakes), 1);
        assert_eq!(server.engine.session_count(), 2 * (1 + limit));
    }
}

/// A proxy forwards requests of many users over one connection, each after the response to the previous one.
#[tokio::test]
async fn sessions_that_open_one_after_the_other_are_not_limited() {
    let server = Server::start(EngineConfig::default().max_pipelined_handshakes(0_u32)).await;
    let mut http = Http::connect(&server).await;
    for _ in 0..100 {
        http.send(OPEN).await;
        assert_eq!(http.response().await.status, 200);
    }
    // Only complete requests that arrive before the previous response count as pipelined.
    let (start, end) = OPEN.split_at(20);
    http.send([OPEN, start].concat()).await;
    for _ in 0..100 {
        assert_eq!(http.response().await.status, 200);
        http.send([end, start].concat()).await;
    }
    assert_eq!(http.response().await.status, 200);
    assert_eq!(server.engine.session_count(), 201);
}

/// The limit applies to the connection. Other requests in between neither reset the count nor add to it.
#[tokio::test]
async fn other_requests_in_one_piece_do_not_count() {
    let server = Server::start(EngineConfig::default().max_pipelined_handshakes(2_u32)).await;
    let client = Polling::open(&server).await;
    let post = |body: &str| {
        format!(
            "POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
            client.query,
            body.len()
        )
    };
    let mut http = Http::connect(&server).await;
    http.send(post("4a").repeat(500)).await;
    for _ in 0..500 {
        assert_eq!(http.response().await.body, "ok");
    }
    for _ in 0..2 {
        http.send([&post("4a"), OPEN, &post("4a")].concat()).await;
        for status in [200, 200, 200] {
            assert_eq!(http.response().await.status, status);
        }
    }
    let websocket =
        format!("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n{UPGRADE}\r\n");
    http.send([post("4a"), websocket].concat()).await;
    assert_eq!(http.response().await.status, 200);
    assert_eq!(http.response().await.status, 429);
    assert_eq!(http.rest().await, "");
    assert_eq!(server.engine.session_count(), 3);
}
