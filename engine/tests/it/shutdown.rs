//! Shutdown of the server. Sessions are closed in a defined order, and slow ones are closed by force.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use crate::support::{Http, Polling, Server, UPGRADE, WebSocket, Wire};

const OPEN: &str = "EIO=4&transport=polling";

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn what_runs_too_long_is_aborted() {
    for seconds in [10, 3] {
        let config = EngineConfig::default().shutdown_timeout(Duration::from_secs(seconds));
        let mut server = Server::in_memory(config);
        let before = tasks();
        let mut quick = WebSocket::open(&server).await;
        let mut hanging = WebSocket::open(&server).await;
        hanging.send("4hang").await;
        hanging.send("4there").await;
        assert_eq!(hanging.text().await, "4there");
        // This session has closed already, but its task is still running.
        let mut gone = WebSocket::open(&server).await;
        gone.send("4hang").await;
        gone.finish().await;
        assert_eq!(server.end().await, CloseReason::TransportClose);
        assert_eq!(server.engine.session_count(), 2);

        let start = Instant::now();
        let closing = tokio::spawn({
            let engine = server.engine.clone();
            async move { engine.close().await }
        });
        for client in [&mut quick, &mut hanging] {
            assert_eq!(client.ended().await, (1001, "server shutting down".into()));
            assert_eq!(server.end().await, CloseReason::ServerShuttingDown);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop((quick, hanging));
        let shutdown = closing.await.unwrap();
        assert_eq!((shutdown.sessions, shutdown.aborted), (2, 2));
        assert_eq!(start.elapsed().as_secs(), seconds);
        assert_eq!(tasks(), before, "nothing is left");
        assert!(server.no_more_ends());
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_in_time_is_not_aborted() {
    let mut server = Server::in_memory(EngineConfig::default());
    let mut client = WebSocket::open(&server).await;
    let closing = tokio::spawn({
        let engine = server.engine.clone();
        async move { engine.close().await }
    });
    client.ended().await;
    drop(client);
    let shutdown = closing.await.unwrap();
    assert_eq!((shutdown.sessions, shutdown.aborted), (1, 0));
    assert_eq!(server.end().await, CloseReason::ServerShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_one_after_the_other() {
    let config = EngineConfig::default().shutdown_spread(Duration::from_secs(20));
    let mut server = Server::in_memory(config);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(WebSocket::open(&server).await);
    }
    let mut polling = Polling::open(&server).await;
    polling.start_poll().await;
    let start = Instant::now();
    // The shutdown continues after its future is dropped.
    assert!(timeout(Duration::from_millis(1), server.engine.close()).await.is_err());
    // A polling client would have to open a new connection.
    assert_eq!(polling.polled().await, "1");
    assert!(start.elapsed() < Duration::from_secs(1));
    let mut told = Vec::new();
    server.end().await;
    for _ in 0..20 {
        assert_eq!(server.end().await, CloseReason::ServerShuttingDown);
        told.push(start.elapsed());
    }
    for (n, told) in (0..).zip(&told) {
        assert!((n..=n + 1).contains(&told.as_secs()), "{told:?}");
    }
    assert!(told.iter().any(|told| told.subsec_millis() > 20), "at random moments: {told:?}");
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_closing_server_sends_new_clients_elsewhere() {
    let server = Server::in_memory(EngineConfig::default().shutdown_spread(Duration::from_secs(20)));
    let mut client = WebSocket::open(&server).await;
    let mut kept = Http::connect(&server).await;
    assert_eq!(kept.get(OPEN).await.status, 200);
    assert!(!server.engine.is_closing());
    assert!(timeout(Duration::ZERO, server.engine.close()).await.is_err());
    assert!(server.engine.is_closing());
    let answer = kept.get(OPEN).await;
    assert_eq!(
        (answer.status, answer.header("connection"), answer.header("retry-after")),
        (503, Some("close"), Some("5"))
    );
    assert_eq!(kept.rest().await, "");
    // Sessions that have not been closed yet keep working.
    client.send("4still here").await;
    assert_eq!(client.text().await, "4still here");
}

#[tokio::test]
async fn a_websocket_that_was_let_in_before_the_end_is_told_too() {
    let mut server = Server::start(EngineConfig::default()).await;
    for _ in 0..10 {
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut http = Http::connect(&server).await;
            http.start("GET", "EIO=4&transport=websocket", UPGRADE, "").await;
            clients.push(http);
        }
        let engine = server.engine.clone();
        let closing = tokio::spawn(async move { engine.close().await });
        for mut http in clients {
            if http.response().await.status == 101 {
                let mut websocket = Wire::from_parts(http.into_parts());
                assert!(websocket.text().await.starts_with("0{"));
                assert_eq!(websocket.ended().await.0, 1001);
                assert_eq!(server.end().await, CloseReason::ServerShuttingDown);
            }
        }
        assert_eq!(closing.await.unwrap().aborted, 0);
        server = Server::start(EngineConfig::default()).await;
    }
}
