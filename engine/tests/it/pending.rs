//! Sessions that nobody uses are evicted in favor of new ones.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, Limit};
use tokio::time::{Instant, timeout};

use crate::support::{Http, Polling, Server, UPGRADE, WebSocket, eventually};

const UNKNOWN: &str = "EIO=4&transport=websocket&unknown=1";

/// Opens a WebSocket session that the application has not marked as established.
async fn unknown(server: &Server) -> WebSocket {
    let mut websocket = WebSocket::connect(server, UNKNOWN).await;
    assert!(websocket.text().await.starts_with("0{"));
    websocket
}

#[tokio::test]
async fn pending_sessions_are_limited_exactly_and_the_oldest_gives_way() {
    let mut server = Server::start(EngineConfig::default().max_pending_sessions(2)).await;
    let mut websocket = unknown(&server).await;
    let mut first = Polling::open(&server).await;
    assert_eq!(server.engine.limit_hits(Limit::MaxPendingSessions), 0);

    let mut second = Polling::open(&server).await;
    assert_eq!(server.engine.limit_hits(Limit::MaxPendingSessions), 1);
    assert_eq!(websocket.ended().await, (1013, "forced close".into()));
    assert_eq!(server.end().await, CloseReason::Evicted);

    let third = Polling::open(&server).await;
    assert!(first.is_gone(&server).await);
    assert_eq!(first.post("4late").await.status, 400);
    assert_eq!(server.end().await, CloseReason::Evicted);
    assert_eq!(server.engine.session_count(), 2);

    // A session that is in use is no longer pending, so no number of new sessions evicts it.
    second.send("4used").await;
    let _upgraded = WebSocket::connect(&server, &third.upgrade_query()).await;
    let mut known = unknown(&server).await;
    known.send("4known").await;
    known.send("4echo").await;
    assert_eq!(known.text().await, "4echo");
    for _ in 0..10 {
        Polling::open(&server).await;
    }
    assert_eq!(server.engine.limit_hits(Limit::MaxPendingSessions), 10);
    assert_eq!(server.engine.session_count(), 5);
    assert_eq!(second.poll().await, "4used");
    known.send("4still here").await;
    assert_eq!(known.text().await, "4still here");
    eventually(|| server.engine.session_count() == 5).await;
}

#[tokio::test]
async fn a_websocket_of_a_known_client_is_not_pending() {
    let server = Server::start(EngineConfig::default().max_pending_sessions(1)).await;
    let mut websockets = [WebSocket::open(&server).await, WebSocket::open(&server).await];
    for websocket in &mut websockets {
        websocket.send("4alive").await;
        assert_eq!(websocket.text().await, "4alive");
    }
    assert_eq!(server.engine.limit_hits(Limit::MaxPendingSessions), 0);
}

#[tokio::test]
async fn a_pending_session_gives_way_when_all_places_are_taken() {
    let mut server = Server::start(EngineConfig::default().max_sessions(3)).await;
    let mut used = WebSocket::open(&server).await;
    let mut pending = [Polling::open(&server).await, Polling::open(&server).await];
    let mut another = WebSocket::open(&server).await;
    assert!(pending[0].is_gone(&server).await);
    assert_eq!(server.end().await, CloseReason::Evicted);
    assert_eq!(server.engine.limit_hits(Limit::MaxSessions), 1);
    assert_eq!(server.engine.session_count(), 3);
    pending[1].send("4used").await;

    // No session is left that could be evicted.
    let answer = Http::connect(&server).await.request("GET", "EIO=4&transport=websocket", UPGRADE, "").await;
    assert_eq!(answer.status, 503);
    for websocket in [&mut used, &mut another] {
        websocket.send("4alive").await;
        assert_eq!(websocket.text().await, "4alive");
    }
    assert_eq!(pending[1].poll().await, "4used");
}

#[tokio::test(start_paused = true)]
async fn a_pending_session_that_waits_to_tell_its_end_gives_way_too() {
    let mut server = Server::in_memory(EngineConfig::default().max_sessions(1));
    let client = Polling::open(&server).await;
    let session = server.session().await;
    session.close();
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    assert_eq!(server.engine.session_count(), 1);
    let start = Instant::now();
    let mut another = Polling::open(&server).await;
    another.send("4alive").await;
    assert!(client.is_gone(&server).await);
    assert_eq!(server.engine.session_count(), 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_flood_of_handshakes_keeps_nobody_out() {
    const FLOOD: usize = 8000;
    let config = EngineConfig::default()
        .max_sessions(2000)
        .max_pending_sessions(1000)
        .max_pipelined_handshakes(u32::MAX);
    let server = Server::start(config).await;
    let mut attacker = Http::connect(&server).await;
    let request = "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n\r\n";
    let flood = async {
        for _ in 0..FLOOD / 100 {
            attacker.send(request.repeat(100)).await;
            for _ in 0..100 {
                assert_eq!(attacker.response().await.status, 200);
            }
        }
    };
    let mut flood = std::pin::pin!(flood);
    let mut healthy = Vec::new();
    // Healthy clients connect during the flood, use their sessions immediately, and keep them.
    while timeout(Duration::from_millis(5), &mut flood).await.is_err() {
        let join = async {
            let mut client = Polling::open(&server).await;
            client.send("4mine").await;
            client
        };
        tokio::select! {
            client = join => healthy.push(client),
            () = &mut flood => break,
        }
    }
    assert!(!healthy.is_empty());
    assert!(server.engine.session_count() <= 1000 + healthy.len() + 1, "{}", server.engine.session_count());
    for client in &mut healthy {
        assert_eq!(client.poll().await, "4mine");
    }
    assert!(server.engine.limit_hits(Limit::MaxPendingSessions) >= 7000 - 1);
    assert_eq!(server.engine.limit_hits(Limit::MaxSessions), 0);
}
