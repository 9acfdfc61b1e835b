//! Socket.IO next to the routes of axum.

use std::io;

use axum::{Router, routing::get, serve::ListenerExt};
use socketio::{Namespace, Server};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let echo = Namespace::new("/").on("echo", async |socket, text: String| socket.emit("echo", &text));
    let io = Server::new().namespace(echo);
    let app = Router::new().route("/", get("axum")).route_service("/socket.io/", io);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    // Needed for long-polling only. The server sets it for WebSocket connections.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    axum::serve(listener, app).await
}
