//! The symptoms of `docs/troubleshooting.md`, with the log lines that name their causes.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use http::Request;
use http_body_util::Empty;
use socketio::{Ack, EngineConfig, Namespace, Server, ServerConfig, Socket};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;
use tracing::Level;

use super::logs::Lines;
use crate::support::{Client, Http, HttpResponse, Polling, UPGRADE, serve, text, within};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn server() -> Server {
    configured(ServerConfig::default())
}

fn configured(config: ServerConfig) -> Server {
    Server::with_config(config).namespace(Namespace::new("/"))
}

fn refused(response: &HttpResponse) -> (u16, &str) {
    (response.status, &response.body)
}

#[tokio::test]
async fn a_session_belongs_to_one_server() {
    let lines = Lines::new(Level::DEBUG).await;
    let (one, two) = (serve(server()).await, serve(server()).await);
    let client = Polling::join(&one).await;
    let answer = Http::connect(&two).await.get(&client.query).await;
    assert_eq!(refused(&answer), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
    lines.wait(1, &["DEBUG", "request refused error=UnknownSession Session ID unknown"]).await;
}

#[tokio::test]
async fn a_proxy_that_drops_the_upgrade_headers_leaves_the_session_on_polling() {
    let lines = Lines::new(Level::DEBUG).await;
    let host = serve(server()).await;
    let mut client = Polling::join(&host).await;
    let bad = (400, r#"{"code":3,"message":"Bad request"}"#);
    let upgrade = Http::connect(&host).await.get(&client.upgrade_query()).await;
    assert_eq!(refused(&upgrade), bad);
    lines.wait(1, &["DEBUG", "request refused error=TransportMismatch Bad request"]).await;
    // A client without polling does not connect at all.
    assert_eq!(refused(&Http::connect(&host).await.get(WEBSOCKET).await), bad);
    lines.wait(1, &["DEBUG", "request refused error=BadRequest Bad request"]).await;
    host.io.emit("news", &1).unwrap();
    assert_eq!(client.poll().await, r#"42["news",1]"#);
}

#[tokio::test]
async fn a_host_that_does_not_hand_connections_over_opens_no_websocket() {
    let lines = Lines::new(Level::DEBUG).await;
    let request = Request::get(WEBSOCKET).header("host", "test");
    let headers = UPGRADE.lines().map(|line| line.split_once(": ").unwrap());
    let request = headers.fold(request, |request, (name, value)| request.header(name, value));
    let io = server();
    let response = io.clone().oneshot(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!((response.status(), io.session_count()), (http::StatusCode::SWITCHING_PROTOCOLS, 0));
    lines.wait(1, &["WARN", "the server in front of the engine does not hand connections over"]).await;
}

#[tokio::test]
async fn localhost_and_127_0_0_1_are_two_origins() {
    let lines = Lines::new(Level::DEBUG).await;
    let host = serve(server()).await;
    let port = host.address.port();
    let ask = async |target: &str, page: &str, upgrade: &str| {
        let mut http = Http::connect(&host).await;
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://{page}:{port}\r\n{upgrade}\r\n"
        );
        http.send(head).await;
        http.response().await
    };
    for (target, upgrade) in [(POLLING, ""), (WEBSOCKET, UPGRADE)] {
        let answer = ask(target, "localhost", upgrade).await;
        assert_eq!(refused(&answer), (403, r#"{"code":4,"message":"Origin not allowed"}"#));
        assert!(matches!(ask(target, "127.0.0.1", upgrade).await.status, 200 | 101));
    }
    let setting = format!(r#"cors=Cors::origins(["http://localhost:{port}"])"#);
    lines.wait(2, &["WARN", "origin refused", &format!("host=127.0.0.1:{port}"), &setting]).await;
}

#[tokio::test]
async fn an_address_of_one_family_is_not_reached_by_the_other() {
    // Without IPv6 there is nothing to tell apart.
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else { return };
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(server().serve(listener).into_future());
    assert!(within(TcpStream::connect((Ipv6Addr::LOCALHOST, port))).await.is_ok());
    assert!(within(TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await.is_err());
    serving.abort();
}

#[tokio::test]
async fn clients_of_socket_io_2_are_refused_unless_allowed() {
    let lines = Lines::new(Level::DEBUG).await;
    let host = serve(server()).await;
    let old = "/socket.io/?EIO=3&transport=polling";
    let answer = Http::connect(&host).await.get(old).await;
    assert_eq!(refused(&answer), (400, r#"{"code":5,"message":"Unsupported protocol version"}"#));
    lines.wait(1, &["DEBUG", "request refused error=UnsupportedProtocol"]).await;
    let engine = EngineConfig::default().allow_eio3(true);
    let host = serve(configured(ServerConfig::default().engine(engine))).await;
    assert_eq!(Http::connect(&host).await.get(old).await.status, 200);
}

#[tokio::test]
async fn a_plain_websocket_client_joins_no_namespace() {
    let lines = Lines::new(Level::DEBUG).await;
    let host = serve(configured(ServerConfig::default().connect_timeout(Duration::from_millis(1)))).await;
    let mut client = Client::open(&host).await;
    assert_eq!(client.ended().await, (1000, "forced close".into()));
    lines.wait(1, &["WARN", "limit hit", r#"limit="connect_timeout""#]).await;
    lines.wait(1, &["session closed", r#"reason="forced close" cause=ForcedClose"#]).await;
}

/// Closes the connection of a client without a word, as a proxy does at its timeout.
#[tokio::test]
async fn a_connection_that_a_proxy_closes_ends_the_session() {
    let lines = Lines::new(Level::DEBUG).await;
    let host = serve(server()).await;
    drop(Client::join(&host).await);
    lines.wait(1, &["session closed", r#"reason="transport close" cause=TransportClose"#]).await;
    let mut client = Polling::join(&host).await;
    client.start_poll().await;
    drop(client);
    lines.wait(1, &["session closed", r#"reason="transport error" cause=TransportError"#]).await;
}

#[tokio::test]
async fn a_silent_client_times_out() {
    let lines = Lines::new(Level::DEBUG).await;
    let short = Duration::from_millis(10);
    let engine = EngineConfig::default().ping_interval(short).ping_timeout(short);
    let host = serve(configured(ServerConfig::default().engine(engine))).await;
    let mut client = Client::join(&host).await;
    assert_eq!(client.text().await, "2");
    assert_eq!(client.ended().await, (1008, "ping timeout".into()));
    lines.wait(1, &["session closed", r#"reason="ping timeout" cause=PingTimeout"#]).await;
}

#[tokio::test]
async fn the_cause_tells_violations_apart() {
    let lines = Lines::new(Level::DEBUG).await;
    let host = serve(server()).await;
    let unmasked = vec![0x81, 1, b'2'];
    let large = format!(r#"42["a","{}"]"#, "x".repeat(1_000_000));
    for (frame, code, close, cause) in [
        (unmasked, 1002, "transport error", "TransportError"),
        (text(&large), 1009, "", "TransportError"),
        (text("x"), 1002, "parse error", "ParseError"),
        (text("49"), 1002, "forced close", "Violation"),
        (text(r#"42/other,["a"]"#), 1002, "forced close", "Violation"),
    ] {
        let before = lines.with(&["session closed", cause]).len();
        let mut client = Client::join(&host).await;
        client.write(frame).await;
        assert_eq!(client.ended().await, (code, close.to_owned()));
        lines.wait(before + 1, &["session closed", cause]).await;
    }
    lines.wait(1, &["WARN", "limit hit", "limit=max_http_buffer_size"]).await;
    lines.wait(1, &["WARN", "protocol violation: the connection is closed", "violation=UnknownType"]).await;
    lines.wait(1, &["WARN", "protocol violation: the connection is closed", "violation=NotConnected"]).await;
}

/// A handler that blocks its thread may stop all connections: one worker thread at a time waits for the network, and that
/// may be the blocked one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_computation_on_another_thread_stops_nobody() {
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let compute = async move |_: Socket, (): ()| {
        let compute = move || blocked.lock().unwrap().recv().is_ok();
        Ack(tokio::task::spawn_blocking(compute).await.unwrap())
    };
    let namespace = Namespace::new("/").on("compute", compute).on("echo", async |_, text: String| Ack(text));
    let host = serve(Server::new().namespace(namespace)).await;
    let (mut busy, mut other) = (Client::join(&host).await, Client::join(&host).await);
    busy.send(r#"421["compute"]"#).await;
    assert_eq!(busy.ask(r#"422["echo","mine"]"#).await, r#"432["mine"]"#);
    assert_eq!(other.ask(r#"421["echo","other"]"#).await, r#"431["other"]"#);
    release.send(()).unwrap();
    assert_eq!(busy.text().await, "431[true]");
}
