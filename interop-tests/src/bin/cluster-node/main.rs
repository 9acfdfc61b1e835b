//! One server of a cluster for tests from outside, configured by environment variables.
//!
//! `PORT=4100 REDIS_URL=redis://127.0.0.1:6379 ADAPTER=redis cluster-node`. The line `ready` is printed when
//! the server listens and receives the messages of the other servers, or after three seconds. `SIGTERM` closes the
//! server, and `SIGUSR2` drains it.
#![expect(clippy::print_stdout, reason = "the line tells who started the server that it may begin")]

mod commands;
mod environment;
mod fetched;
mod server_events;
mod state;
mod target;

use std::{error::Error, time::Duration};

use axum::{Json, Router, routing::get};
use serde_json::json;
use socketio::Server;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::environment::Environment;

/// The time after which the server is ready without a broker.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let environment = Environment::read()?;
    let listener = TcpListener::bind((environment.host.as_str(), environment.port)).await?;
    let server = state::server(&environment)?;
    let mut terminated = signal(SignalKind::terminate())?;

    let observed = server.clone();
    let rest = Router::new()
        .route("/health", get(async || "ok"))
        .route("/status", get(async move || Json(status(&observed))));
    if let Some((_, address)) = &environment.forwarding {
        tokio::spawn(server.serve_forwarded(TcpListener::bind(address).await?));
    }
    let serving = tokio::spawn(server.clone().serve(listener).with_fallback(rest).into_future());
    let _ = timeout(READY_TIMEOUT, server.cluster_connected()).await;
    println!("ready");

    let mut drained = signal(SignalKind::user_defined2())?;
    loop {
        tokio::select! {
            _ = drained.recv() => server.drain(),
            _ = terminated.recv() => break,
        }
    }
    server.close().await;
    serving.await??;
    Ok(())
}

fn status(server: &Server) -> serde_json::Value {
    let status = server.cluster_status().unwrap_or_default();
    json!({
        "connected": status.is_connected,
        "disconnections": status.disconnections,
        "queuedBytes": status.queued_bytes,
        "dropped": status.dropped,
        "malformed": status.malformed,
    })
}
