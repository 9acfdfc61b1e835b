//! The peer `socketioxide`, set up on axum as in its documentation. All settings except one limit are
//! defaults.

use std::{env, net::Ipv4Addr};

use axum::serve::ListenerExt as _;
use bytes::Bytes;
use serde_json::Value;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::net::TcpListener;

const ROOM: &str = "r";

async fn on_connect(socket: SocketRef, io: SocketIo) {
    socket.join(ROOM);
    socket.on("echo", async |socket: SocketRef, Data::<Value>(value)| {
        socket.emit("echo", &value).ok();
    });
    socket.on("echo-bin", async |socket: SocketRef, Data::<Bytes>(attachment)| {
        socket.emit("echo-bin", &attachment).ok();
    });
    socket.on("ack", async |Data::<Value>(value), ack: AckSender| {
        ack.send(&value).ok();
    });
    let server = io.clone();
    socket.on("publish", async move |Data::<Value>(value)| {
        server.to(ROOM).emit("news", &value).await.ok();
    });
    socket.on("publish-to", async move |Data::<(String, Value)>((room, value))| {
        io.to(room).emit("news", &value).await.ok();
    });
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        ack.send(&()).ok();
    });
    socket.on("leave", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.leave(room);
        ack.send(&()).ok();
    });
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = env::var("PORT")?.parse()?;
    // The default limit is 100 kB, which is too small for the event of the memory scenario. The other servers
    // accept 1 MB.
    let (layer, io) = SocketIo::builder().max_payload(1_000_000).build_layer();
    io.ns("/", on_connect);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    axum::serve(listener, axum::Router::new().layer(layer)).await?;
    Ok(())
}
