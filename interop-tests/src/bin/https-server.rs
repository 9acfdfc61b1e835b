//! Socket.IO over TLS beside an application of axum, for browsers. Prints the port.

#![expect(clippy::print_stdout, reason = "the line tells the test the port")]

use axum::{
    Router,
    body::Bytes,
    extract::{
        Request, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::{Html, Response},
    routing::{any, get},
};
use socketio::{Ack, Namespace, Server, Tls};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let io = Server::new().namespace(Namespace::new("/").on("echo", async |_, text: String| Ack(text)));
    let app = Router::new()
        .route("/", get(|| async { Html("<!doctype html><title>https</title>") }))
        .route("/download", get(|| async { Bytes::from(vec![b'x'; 5_000_000]) }))
        .route("/version", get(|request: Request| async move { format!("{:?}", request.version()) }))
        .route("/ws", any(websocket));
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let tls = Tls::from_pem(certified.cert.pem(), certified.signing_key.serialize_pem())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    io.serve(tls.listener(listener)).with_fallback(app).await?;
    Ok(())
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket: WebSocket| {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
                break;
            }
        }
    })
}
