//! A chat with rooms and its web page. Start it with `cargo run --release -p chat` and open the printed
//! address.
//!
//! `events.rs` defines the events, and `chat.rs` implements their handlers. This file serves the page.

mod chat;
mod events;

use std::{env, io, sync::Arc};

use axum::{Router, http::header::CONTENT_TYPE, response::Html, routing::get, serve::ListenerExt};
use socketio::{EngineConfig, Server, ServerConfig};
use tokio::net::TcpListener;

/// Fits a message of 2,000 characters, each escaped as `\u1234\u5678`, and the rest of its packet.
const MAX_PACKET: usize = 32 * 1024;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address is what the program is started for")]
async fn main() -> io::Result<()> {
    let client = client_files::fetch().map_err(io::Error::other)?;
    let config = ServerConfig::default()
        .serve_client(client)
        .engine(EngineConfig::default().max_http_buffer_size(MAX_PACKET));
    let chat = Arc::new(chat::Chat::default());
    let io = Server::with_config(config).namespace(chat::namespace(Arc::clone(&chat)));
    tokio::spawn(chat::announce_rooms(chat, io.clone()));

    let script = get(([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../page/chat.js")));
    let style = get(([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../page/style.css")));
    let app = Router::new()
        .route("/", get(Html(include_str!("../page/index.html"))))
        .route("/chat.js", script)
        .route("/style.css", style)
        .fallback_service(io.clone());

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>()).map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("chat: http://{}", listener.local_addr()?);
    // Disables Nagle's algorithm, so that small packets are sent without delay.
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                io.close().await;
            }
        })
        .await
}
