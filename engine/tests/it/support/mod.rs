//! An echo server, and clients that can also be rude.

mod app;
mod http;
mod polling;
mod server;
mod websocket;
mod wire;

pub(crate) use self::{
    app::Echo,
    http::{Http, HttpResponse, UPGRADE},
    polling::{Polling, payload},
    server::{Connect, PATH, Server, Stream, eventually, parked},
    websocket::WebSocket,
    wire::{Wire, close_frame, frame},
};
