//! The server of the benchmark: default configuration, one namespace, one room.
//!
//! `PORT=3000 bench-server` listens on 127.0.0.1. Data that is forwarded without being read has the type
//! [`Args`]. With `ADAPTER` and `BROKER_URL`, the server is one of a cluster. `MAX_IO_EVENTS_PER_TICK` sets this option
//! of the runtime.

use std::{env, error::Error, net::Ipv4Addr};

use serde_json::Value;
use socketio::{Ack, Args, Namespace, Server, ServerConfig};
use socketio_nats::Nats;
use socketio_redis::{Classic, Sharded, Streams};
use tokio::runtime::Builder;

const ROOM: &str = "r";

/// Creates the server, which is alone unless `BROKER_URL` is set.
fn server() -> Result<Server, Box<dyn Error>> {
    let Ok(url) = env::var("BROKER_URL") else { return Ok(Server::new()) };
    let config = ServerConfig::default();
    Ok(match env::var("ADAPTER").as_deref() {
        Ok("redis") => Server::with_cluster(config, Classic::new(&url)?),
        Ok("redis-sharded") => Server::with_cluster(config, Sharded::new(&url)?),
        Ok("redis-streams") => Server::with_cluster(config, Streams::new(&url)?),
        Ok("nats") => Server::with_cluster(config, Nats::new(&url)?),
        other => return Err(format!("unknown ADAPTER {other:?}").into()),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut runtime = Builder::new_multi_thread();
    if let Ok(max) = env::var("MAX_IO_EVENTS_PER_TICK") {
        runtime.max_io_events_per_tick(max.parse()?);
    }
    runtime.enable_all().build()?.block_on(listen())
}

async fn listen() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_err(|error| format!("PORT: {error}"))?.parse()?;
    let namespace = Namespace::new("/")
        .on_connect(async |socket| {
            // A join fails only if the socket is already disconnected.
            let _ = socket.join(ROOM);
        })
        .on("echo", async |socket, args: Args| socket.emit("echo", &args))
        .on("echo-bin", async |socket, args: Args| socket.emit("echo-bin", &args))
        .on("ack", async |_, args: Args| Ack(args))
        .on("publish", async |socket, args: Args| socket.namespace().to(ROOM).emit("news", &args))
        .on("publish-to", async |socket, (room, value): (String, Value)| {
            socket.namespace().to(room).emit("news", &value)
        })
        .on("join", async |socket, room: String| socket.join(room))
        .on("leave", async |socket, room: String| socket.leave(&room));
    server()?.namespace(namespace).listen((Ipv4Addr::LOCALHOST, port)).await?;
    Ok(())
}
