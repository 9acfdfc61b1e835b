//! Servers on a socket of this machine, clients that can also be rude, and ways to wait without sleeping.

mod client;
mod frames;
mod host;
mod http;
mod polling;
mod tree;
mod waiting;

pub(crate) use self::{
    client::Client,
    frames::{binary, frame, text},
    host::{Host, serve, serve_namespace},
    http::{Http, HttpResponse},
    polling::{Polling, base64, payload},
    tree::Tree,
    waiting::{Heard, Log, eventually, log, stalls, within},
};
