//! Tests an axum application behind the server, with what it can do under its own server: upgrades of its own,
//! streaming responses and HTTP/2, beside Socket.IO on the same port.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    routing::get,
};
use bytes::Bytes;
use http_body::Frame;
use socketio::{ListenConfig, Server, ServerConfig};
use testkit::{Endpoint, Http2, Stream, Wire, frames::frame};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
};

use super::services::{io, io_with, works};
use crate::support::{Host, Http, within};

/// The parts of a download, which the test sends.
type Parts = mpsc::Receiver<&'static str>;

/// A response body whose parts come through a channel.
struct Download(Parts);

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part.into()))))
    }
}

async fn echo(mut websocket: WebSocket) {
    while let Some(Ok(message)) = websocket.recv().await {
        if matches!(message, Message::Text(_)) && websocket.send(message).await.is_err() {
            return;
        }
    }
}

/// Returns the application, and the sender for the parts of its downloads.
pub(super) fn app() -> (Router, mpsc::Sender<Parts>) {
    let (sender, downloads) = mpsc::channel::<Parts>(10);
    let downloads = Arc::new(Mutex::new(downloads));
    let download = async move || Body::new(Download(downloads.lock().await.recv().await.unwrap()));
    let app = Router::new()
        .route("/", get(async || "home"))
        .route("/ws", get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .route("/download", get(download));
    (app, sender)
}

async fn serve(server: Server, app: Router) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(server.clone().serve(listener).with_fallback(app).into_future());
    Host { io: server, address, serving }
}

/// Opens the WebSocket of the application.
async fn open(stream: Stream) -> Wire {
    Wire::from_parts(Http::new(stream, Host::PATH).upgrade("/ws").await)
}

async fn echoes(websocket: &mut Wire, text: &str) {
    websocket.send(frame(0x81, text)).await;
    assert_eq!(websocket.text().await, text);
}

/// Downloads over HTTP/2, and checks that each part arrives before the next one is sent.
async fn downloads(client: &mut Http2, downloads: &mpsc::Sender<Parts>) {
    let (parts, receiver) = mpsc::channel(1);
    downloads.send(receiver).await.unwrap();
    let response = client.open_get("/download").await;
    let (head, mut body) = within(response).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    for part in ["first", "second"] {
        parts.send(part).await.unwrap();
        assert_eq!(within(body.data()).await.unwrap().unwrap(), part);
    }
    drop(parts);
    assert!(within(body.data()).await.is_none_or(|end| end.unwrap().is_empty()));
}

#[tokio::test]
async fn an_application_has_its_own_websockets_beside_socket_io() {
    for short_path in [true, false] {
        let config = ServerConfig::default().listen(ListenConfig::default().short_path(short_path));
        let host = serve(io_with(config), app().0).await;
        let mut websocket = open(Endpoint::connect(&host).await).await;
        echoes(&mut websocket, "before").await;
        works(&host, 200).await;
        echoes(&mut websocket, "after").await;
        // The connection counts until the application closes it.
        assert!(host.io.connections().open() > 0);
        drop(websocket);
        testkit::eventually(|| host.io.connections().open() == 0).await;
    }
}

#[tokio::test]
async fn a_download_streams_over_http_1_and_2() {
    let (app, sender) = app();
    let host = serve(io(), app).await;
    let mut client = Http2::over(Endpoint::connect(&host).await).await;
    downloads(&mut client, &sender).await;
    assert_eq!(client.get("/").await.body, "home");

    let (parts, receiver) = mpsc::channel(1);
    sender.send(receiver).await.unwrap();
    let mut client = Http::connect(&host).await;
    client.start("GET", "/download", "Connection: close\r\n", "").await;
    assert!(client.head().await.contains("Transfer-Encoding: chunked\r\n"));
    parts.send("first").await.unwrap();
    parts.send("second").await.unwrap();
    drop(parts);
    assert_eq!(client.rest().await, "5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n");
    works(&host, 200).await;
}

#[tokio::test]
async fn a_client_of_http_2_polls_beside_the_application() {
    let host = serve(io(), app().0).await;
    let mut client = Http2::over(Endpoint::connect(&host).await).await;
    let open = client.get("/socket.io/?EIO=4&transport=polling").await.body;
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", &open[9..29]);
    assert_eq!(client.request("POST", &target, "40").await.body, "ok");
    assert!(client.get(&target).await.body.starts_with("40{"));
    assert_eq!(client.request("POST", &target, r#"421["echo","a"]"#).await.body, "ok");
    assert_eq!(client.get(&target).await.body, r#"431["a"]"#);
    assert_eq!(client.get("/").await.body, "home");
}
