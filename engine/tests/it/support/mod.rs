//! An echo server, and the clients for it, which can also be rude.

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
