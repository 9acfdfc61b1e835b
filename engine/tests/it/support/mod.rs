//! An echo server, and clients that can violate the protocol.

mod app;
mod server;

pub(crate) use testkit::{
    Http, HttpResponse, Polling, Stream, UPGRADE, WebSocket, Wire, eventually,
    frames::{close_frame, frame},
    payload,
};

pub(crate) use self::{
    app::Echo,
    server::{Connect, PATH, Server, http, parked},
};
