//! Tests the shutdown of the server: clients are closed in a way that lets them reconnect, and no state
//! remains.

use std::{sync::Arc, time::Duration};

use axum::Router;
use socketio::{DisconnectReason, EmitError, EngineConfig, Namespace, Server, ServerConfig, Socket};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::Semaphore,
    time::Instant,
};

use crate::support::{Client, Heard, Host, Http, Polling, eventually, log, serve, within};

async fn host() -> (Host, Heard<Socket>, Heard<&'static str>) {
    let (sockets, connected) = log();
    let (ends, reasons) = log();
    let engine = EngineConfig::default().close_timeout(Duration::from_millis(50));
    let namespace = Namespace::new("/")
        .on_connect(async move |socket| sockets.note(socket))
        .on_disconnect(async move |_, reason: DisconnectReason| ends.note(reason.as_str()));
    let io = Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace);
    (serve(io).await, connected, reasons)
}

#[tokio::test]
async fn sessions_end_without_a_word_of_disconnect_and_the_server_returns() {
    let (host, mut connected, mut reasons) = host().await;
    let mut websocket = Client::join(&host).await;
    let mut polling = Polling::join(&host).await;
    let parked = connected.take(2).await.pop().unwrap();
    polling.start_poll().await;
    eventually(|| parked.session().is_writable()).await;
    host.io.emit("last words", &()).unwrap();
    assert_eq!(polling.polled().await, r#"42["last words"]"#);
    polling.start_poll().await;
    eventually(|| parked.session().is_writable()).await;

    within(host.io.close()).await;
    assert_eq!((host.io.session_count(), host.io.socket_count("/")), (0, 0));
    // No DISCONNECT packet (`41`) is sent, because a client that receives one does not reconnect.
    assert_eq!(websocket.text().await, r#"42["last words"]"#);
    assert_eq!(websocket.ended().await, (1001, "server shutting down".into()));
    assert_eq!(polling.polled().await, "1");
    assert_eq!(reasons.take(2).await, ["server shutting down"; 2]);
    within(host.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(host.address).await.is_err(), "the port is free again");
}

#[tokio::test]
async fn a_client_that_does_not_poll_holds_the_end_up_for_a_short_time_only() {
    let (host, _connected, mut reasons) = host().await;
    let _polling = Polling::join(&host).await;
    within(host.io.close()).await;
    assert_eq!(reasons.next().await, "server shutting down");
    within(host.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_neither_reads_nor_closes_does_not_hold_the_end_up() {
    let (host, mut connected, mut reasons) = host().await;
    let client = Client::join(&host).await;
    let socket = connected.next().await;
    let payload = "x".repeat(100_000);
    while socket.session().buffered() < 900_000 {
        socket.emit("news", payload.as_str()).unwrap();
        tokio::task::yield_now().await;
    }
    within(host.io.close()).await;
    assert_eq!(reasons.next().await, "server shutting down");
    within(host.serving).await.unwrap().unwrap();
    drop(client);
}

#[tokio::test]
async fn closing_an_idle_server_and_closing_twice_returns_at_once() {
    let (host, ..) = host().await;
    within(host.io.close()).await;
    within(host.io.close()).await;
    within(host.serving).await.unwrap().unwrap();
    assert!(host.io.emit("nobody hears", &()).is_ok());
    assert!(matches!(host.io.of("/x").emit("e", &()), Err(EmitError::UnknownNamespace)));
    // `serve` on a closed server returns at once.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    within(host.io.serve(listener).into_future()).await.unwrap();
}

#[tokio::test]
async fn hooks_have_run_when_the_server_has_closed() {
    let gate = Arc::new(Semaphore::new(0));
    let (notes, mut heard) = log();
    let hook = {
        let gate = gate.clone();
        async move |_: Socket, _: DisconnectReason| {
            notes.note("begins");
            gate.acquire().await.unwrap().forget();
            notes.note("is saved");
        }
    };
    let host = serve(Server::new().namespace(Namespace::new("/").on_disconnect(hook))).await;
    let _client = Client::join(&host).await;
    let io = host.io.clone();
    let closing = tokio::spawn(async move { io.close().await });
    assert_eq!(heard.next().await, "begins");
    gate.add_permits(1);
    within(closing).await.unwrap();
    assert_eq!(heard.so_far(), ["is saved"], "the application may end its process now");
}

/// Starts a server inside an application that keeps running after the server is closed.
async fn in_axum() -> Host {
    let io = Server::new().namespace(Namespace::new("/"));
    let app = Router::new().route_service("/socket.io/", io.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    Host { io, address, serving }
}

#[tokio::test]
async fn in_an_application_that_goes_on_its_sessions_end() {
    let host = in_axum().await;
    let mut client = Client::join(&host).await;
    within(host.io.close()).await;
    assert_eq!(client.ended().await, (1001, "server shutting down".into()));
}

#[tokio::test]
async fn a_closed_server_takes_no_new_sessions() {
    let host = in_axum().await;
    within(host.io.close()).await;
    let answer = Http::connect(&host).await.get("/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(answer.status, 503);
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", host.address);
    assert!(within(tokio_tungstenite::client_async(url, host.connect().await)).await.is_err());
    assert_eq!(host.io.session_count(), 0);
}

#[tokio::test]
async fn a_thousand_sockets_whose_handlers_never_return_end_in_time() {
    rlimit::increase_nofile_limit(10_000).unwrap();
    let before = Handle::current().metrics().num_alive_tasks();
    let (starts, mut started) = log();
    let (ends, mut reasons) = log();
    let namespace = Namespace::new("/")
        .on("work", async move |_, ()| {
            starts.note(());
            std::future::pending::<()>().await;
        })
        .on_disconnect(async move |_, reason: DisconnectReason| ends.note(reason.as_str()));
    let engine = EngineConfig::default().shutdown_timeout(Duration::from_secs(2));
    let config = ServerConfig::default().engine(engine).disconnect_grace(Duration::from_millis(500));
    let host = serve(Server::with_config(config).namespace(namespace)).await;
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut client = Client::join(&host).await;
        client.send(r#"42["work"]"#).await;
        clients.push(client);
    }
    started.take(1000).await;

    let start = Instant::now();
    assert!(!host.io.is_closing());
    let io = host.io.clone();
    let closing = tokio::spawn(async move { io.close().await });
    for client in &mut clients {
        assert_eq!(client.ended().await, (1001, "server shutting down".into()));
    }
    assert!(host.io.is_closing());
    let shutdown = within(closing).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!((shutdown.sessions, shutdown.aborted), (1000, 1000));
    assert_eq!(reasons.so_far(), ["server shutting down"; 1000]);
    within(host.serving).await.unwrap().unwrap();
    assert_eq!((host.io.session_count(), host.io.socket_count("/")), (0, 0));
    assert_eq!(host.io.connections().open(), 0);
    drop(clients);
    eventually(|| Handle::current().metrics().num_alive_tasks() == before).await;
}
