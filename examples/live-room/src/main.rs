//! A live room: one host, and thousands of viewers that comment and like. Start it with
//! `cargo run --release -p live-room`, open the printed addresses, and add viewers with `-- --bots 5000`.
//!
//! With `REDIS_URL=redis://127.0.0.1:6379` and the same `HOST_KEY`, servers with different `PORT`s have one room. The
//! viewers of a server that ends return to another one, and have missed nothing.
//!
//! `room.rs` has the room and its handlers, `cluster.rs` the events between servers, `panel.rs` the figures of the
//! panel, `bots.rs` the viewers of `--bots`, which are a process of their own. This file starts them and serves the
//! page.

mod bots;
mod cluster;
mod panel;
mod room;

use std::{env, io, sync::Arc};

use axum::{Router, http::header::CONTENT_TYPE, response::Html, routing::get, serve::ListenerExt};
use socketio::{ConnectionStateRecovery, EngineConfig, Server, ServerConfig, Sid};
use socketio_redis::Streams;
use tokio::{net::TcpListener, process::Command};

use crate::room::Room;

/// Fits a comment of 200 characters, each escaped as `\u1234\u5678`, and the rest of its packet.
const MAX_PACKET: usize = 8 * 1024;

#[tokio::main]
async fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // A connection is a file, and the limit of many systems is 1,024.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => serve(0).await,
        ["--bots", count] => serve(count.parse().map_err(io::Error::other)?).await,
        // The process that `--bots` starts.
        ["bots", address, count, key] => {
            bots::run(address, count.parse().map_err(io::Error::other)?, key).await
        }
        _ => Err(io::Error::other("usage: live-room [--bots COUNT]")),
    }
}

#[expect(clippy::print_stdout, reason = "the addresses are what the program is started for")]
async fn serve(bots: u32) -> io::Result<()> {
    let config = ServerConfig::default()
        .serve_client(client_files::fetch().map_err(io::Error::other)?)
        // A viewer that returns within two minutes has missed nothing.
        .connection_state_recovery(ConnectionStateRecovery::default())
        .engine(EngineConfig::default().max_http_buffer_size(MAX_PACKET));
    let key = env::var("HOST_KEY").unwrap_or_else(|_| Sid::random().as_str().to_owned());
    let room = Arc::new(Room::new(&key));
    let io = match env::var("REDIS_URL") {
        Ok(url) => Server::with_cluster(config, Streams::new(&url).map_err(io::Error::other)?),
        Err(_) => Server::with_config(config),
    };
    let io = io.namespace(room::namespace(&room));
    tokio::spawn(cluster::join(io.clone()));
    tokio::spawn(room::publish(room.clone(), io.clone()));
    tokio::spawn(panel::publish(room.clone(), io.clone()));

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>()).map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?.to_string();
    println!("live room: http://{address}");
    println!("as the host: http://{address}/#{}", room.key());
    let viewers = (bots > 0).then(|| start_bots(&address, bots, room.key())).transpose()?;
    // Disables Nagle's algorithm, so that small packets are sent without delay.
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    let server = axum::serve(listener, pages(io.clone())).with_graceful_shutdown(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            io.close().await;
        }
    });
    let result = server.await;
    drop(viewers);
    result
}

fn start_bots(address: &str, count: u32, key: &str) -> io::Result<tokio::process::Child> {
    Command::new(env::current_exe()?)
        .args(["bots", address, &count.to_string(), key])
        .kill_on_drop(true)
        .spawn()
}

fn pages(io: Server) -> Router {
    let script =
        get(([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../page/live-room.js")));
    let stage = get(([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../page/stage.js")));
    let style = get(([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../page/style.css")));
    Router::new()
        .route("/", get(Html(include_str!("../page/index.html"))))
        .route("/live-room.js", script)
        .route("/stage.js", stage)
        .route("/style.css", style)
        .fallback_service(io)
}
