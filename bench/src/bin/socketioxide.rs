//! The peer `socketioxide`, set up on axum as in its documentation. All settings except one limit are
//! defaults. With `BROKER_URL`, it connects to other servers over Redis.

use std::{env, net::Ipv4Addr};

use axum::{Router, serve::ListenerExt as _};
use bytes::Bytes;
use serde_json::Value;
use socketioxide::{
    SocketIo,
    adapter::Adapter,
    extract::{AckSender, Data, SocketRef},
};
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr, drivers::redis::redis_client::Client};
use tokio::net::TcpListener;

const ROOM: &str = "r";

async fn on_connect<A: Adapter>(socket: SocketRef<A>, io: SocketIo<A>) {
    socket.join(ROOM);
    socket.on("echo", async |socket: SocketRef<A>, Data::<Value>(value)| {
        socket.emit("echo", &value).ok();
    });
    socket.on("echo-bin", async |socket: SocketRef<A>, Data::<Bytes>(attachment)| {
        socket.emit("echo-bin", &attachment).ok();
    });
    socket.on("ack", async |Data::<Value>(value), ack: AckSender<A>| {
        ack.send(&value).ok();
    });
    let server = io.clone();
    socket.on("publish", async move |Data::<Value>(value)| {
        server.to(ROOM).emit("news", &value).await.ok();
    });
    socket.on("publish-to", async move |Data::<(String, Value)>((room, value))| {
        io.to(room).emit("news", &value).await.ok();
    });
    socket.on("join", async |socket: SocketRef<A>, Data::<String>(room), ack: AckSender<A>| {
        socket.join(room);
        ack.send(&()).ok();
    });
    socket.on("leave", async |socket: SocketRef<A>, Data::<String>(room), ack: AckSender<A>| {
        socket.leave(room);
        ack.send(&()).ok();
    });
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = env::var("PORT")?.parse()?;
    // The default limit is 100 kB, which is too small for the event of the memory scenario. The other servers
    // accept 1 MB.
    let builder = SocketIo::builder().max_payload(1_000_000);
    let app = if let Ok(url) = env::var("BROKER_URL") {
        let redis = RedisAdapterCtr::new_with_redis(&Client::open(format!("{url}?protocol=resp3"))?).await?;
        let (layer, io) = builder.with_adapter::<RedisAdapter<_>>(redis).build_layer();
        io.ns("/", on_connect).await?;
        Router::new().layer(layer)
    } else {
        let (layer, io) = builder.build_layer();
        io.ns("/", on_connect);
        Router::new().layer(layer)
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    axum::serve(listener, app).await?;
    Ok(())
}
