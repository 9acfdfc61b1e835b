//! A chat with rooms, and the page for it: `cargo run --release -p chat`, then open the printed address.
//!
//! `events.rs` is the contract between the page and the server, `chat.rs` the server's side of it. This file serves
//! the page and sees that the official client is there.

mod chat;
mod events;

use std::{env, io, path::Path, process::Command, sync::Arc};

use axum::{Router, http::header::CONTENT_TYPE, response::Html, routing::get, serve::ListenerExt};
use socketio::{EngineConfig, Server, ServerConfig};
use tokio::net::TcpListener;

/// The page loads the official client from `/socket.io/socket.io.js`; npm puts its files here.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node_modules/socket.io-client/dist");

/// A message of 2,000 characters, each escaped as `\u1234\u5678`, and the rest of its packet.
const MAX_PACKET: usize = 32 * 1024;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address is what the program is started for")]
async fn main() -> io::Result<()> {
    fetch_client();
    let config = ServerConfig::default()
        .serve_client(CLIENT)
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
    // Small packets go out at once instead of waiting for an acknowledgement of the one before.
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                io.close().await;
            }
        })
        .await
}

/// Lets npm fetch the official client, once: its files are not part of this repository.
fn fetch_client() {
    if Path::new(CLIENT).join("socket.io.min.js").exists() {
        return;
    }
    eprintln!("chat: fetching the Socket.IO client with npm, this happens once");
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let outcome = Command::new(npm)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    let why = match outcome {
        Ok(status) if status.success() => return,
        Ok(status) => format!("npm failed ({status}), what it says is above"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "there is no npm here; please install Node.js (npm comes with it) and start again".to_owned()
        }
        Err(error) => format!("npm did not start: {error}"),
    };
    eprintln!("chat: the Socket.IO client for the page could not be fetched: {why}");
    eprintln!("chat: npm runs in {}", env!("CARGO_MANIFEST_DIR"));
    std::process::exit(1);
}
