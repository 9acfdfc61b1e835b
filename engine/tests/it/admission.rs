//! Limits on the number of sessions, in total and during the handshake.

use std::time::Duration;

use engineio::{EngineConfig, Limit};
use tokio::time::sleep;

use crate::support::{Http, HttpResponse, Polling, Server, UPGRADE, WebSocket, eventually};

/// Requests a session over each transport and expects a rejection.
async fn refused(server: &Server) {
    for (query, headers) in [("EIO=4&transport=polling", ""), ("EIO=4&transport=websocket", UPGRADE)] {
        let answer: HttpResponse = Http::connect(server).await.request("GET", query, headers, "").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{query}");
    }
}

#[tokio::test]
async fn sessions_are_limited_exactly() {
    let server = Server::start(EngineConfig::default().max_sessions(2)).await;
    let mut polling = Polling::open(&server).await;
    let websocket = WebSocket::open(&server).await;
    polling.send("4alive").await;
    refused(&server).await;
    assert_eq!(server.engine.limit_hits(Limit::MaxSessions), 2);
    assert_eq!(server.engine.session_count(), 2);

    // Established sessions are unaffected and may still upgrade.
    assert_eq!(polling.poll().await, "4alive");
    let upgraded = WebSocket::upgrade(&server, &polling).await;
    refused(&server).await;

    websocket.finish().await;
    eventually(|| server.engine.session_count() == 1).await;
    let _another = WebSocket::open(&server).await;
    refused(&server).await;
    upgraded.finish().await;
    eventually(|| server.engine.session_count() == 1).await;
    Polling::open(&server).await.send("4alive").await;
    refused(&server).await;
}

#[tokio::test]
async fn a_handshake_that_breaks_off_gives_its_place_back() {
    let server = Server::start(EngineConfig::default().max_sessions(1)).await;
    for _ in 0..3 {
        let mut http = Http::connect(&server).await;
        http.start("GET", "EIO=4&transport=websocket", UPGRADE, "").await;
        drop(http);
        eventually(|| server.engine.session_count() == 0).await;
    }
    let mut open = Http::connect(&server).await.get("EIO=4&transport=polling").await;
    while open.status == 503 {
        open = Http::connect(&server).await.get("EIO=4&transport=polling").await;
    }
    assert_eq!(open.status, 200);
    assert_eq!(server.engine.session_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn handshakes_are_limited_exactly() {
    let server = Server::in_memory(EngineConfig::default().max_handshakes_per_second(2));
    for seconds in 1..=3 {
        let _polling = Polling::open(&server).await;
        let _websocket = WebSocket::open(&server).await;
        refused(&server).await;
        assert_eq!(server.engine.limit_hits(Limit::MaxHandshakesPerSecond), 2 * seconds);
        sleep(Duration::from_secs(1)).await;
    }
}
