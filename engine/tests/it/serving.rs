//! The accept loop and the connection information it passes to the engine.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, TransportKind};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use crate::support::{Http, Polling, Server, Stream, UPGRADE, WebSocket, Wire, frame, http, parked};

#[tokio::test]
async fn a_session_knows_its_transport() {
    let mut server = Server::start(EngineConfig::default()).await;
    let _websocket = WebSocket::open(&server).await;
    assert_eq!(server.session().await.transport(), TransportKind::WebSocket);
    let polling = Polling::open(&server).await;
    let session = server.session().await;
    assert_eq!(session.transport(), TransportKind::Polling);
    assert_eq!(session.id().as_str(), polling.sid);
    assert_eq!(session.protocol(), 4);
    assert_eq!(server.engine.session_count(), 2);
}

#[tokio::test]
async fn the_application_knows_the_request() {
    let server = Server::start(EngineConfig::default()).await;
    let query = "EIO=4&transport=websocket&reflect=a%20b";
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let told = (format!("/engine.io/?{query}"), Some("test"), Some(stream.local_addr().unwrap()), false);
    let http = http(Stream::tcp(stream));
    let mut client = Wire::from_parts(http.upgrade(query).await);
    assert!(client.text().await.starts_with("0{"));
    assert_eq!(client.text().await, format!("4{told:?}"));
}

#[tokio::test]
async fn other_servers_can_carry_the_engine() {
    // A server that detects the HTTP version, such as the one of axum, wraps the upgraded stream once more.
    let mut server = Server::start(EngineConfig::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let service = TowerToHyperService::new(server.engine.clone());
    tokio::spawn(async move {
        let stream = TokioIo::new(accepted.unwrap().0);
        auto::Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(stream, service).await
    });
    let mut http = http(Stream::tcp(client.unwrap()));
    assert_eq!(http.get("EIO=4&transport=polling").await.status, 200);
    let request = "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n";
    http.send([format!("{request}{UPGRADE}\r\n").into_bytes(), frame(0x81, "4first")].concat()).await;
    assert_eq!(http.response().await.status, 101);
    let mut websocket = Wire::from_parts(http.into_parts());
    assert!(websocket.text().await.starts_with("0{"));
    assert_eq!(websocket.text().await, "4first");
    websocket.send(frame(0x81, "4second")).await;
    assert_eq!(websocket.text().await, "4second");
    drop(websocket);
    assert_eq!(server.end().await, CloseReason::TransportClose);
}

#[tokio::test]
async fn serving_ends_when_it_is_told_to() {
    let mut server = Server::start(EngineConfig::default()).await;
    // One connection has sent no request, and one is idle between two requests.
    let _idle = server.connect().await;
    let mut kept = Http::connect(&server).await;
    assert_eq!(kept.get("EIO=4&transport=polling").await.status, 200);
    timeout(Duration::from_secs(4), server.shut_down())
        .await
        .expect("no request is in progress")
        .unwrap()
        .unwrap();
    assert_eq!(kept.rest().await, "");
    assert!(TcpStream::connect(server.address()).await.is_err());
}

#[tokio::test]
async fn a_poll_in_progress_is_answered_before_the_end() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    let serving = server.shut_down();
    let engine = server.engine.clone();
    let closing = tokio::spawn(async move { engine.close().await });
    assert_eq!(client.polled().await, "1");
    assert_eq!(client.get.rest().await, "");
    assert_eq!(server.end().await, CloseReason::ServerShuttingDown);
    closing.await.unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Server::start(EngineConfig::default()).await;
    let mut http = Http::connect(&server).await;
    assert_eq!(http.get("EIO=4&transport=polling").await.status, 200);
    let start = Instant::now();
    http.send("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: te").await;
    assert!(http.rest().await.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!((9..=11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}
