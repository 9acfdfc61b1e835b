//! Raw clients for server tests, helpers for waiting, a runner of simulations, and the check of the layers of a crate.
//!
//! The clients send exactly the bytes they are given, over any stream. This crate does not depend on
//! `engineio` or `socketio`, so that the tests of both can use it.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

pub mod frames;
pub mod http;
pub mod http2;
pub mod layers;
pub mod polling;
pub mod recorder;
pub mod seeds;
pub mod stream;
pub mod tree;
pub mod waiting;
pub mod websocket;
pub mod wire;

/// Returns `false` if the environment variable `SHORT_PATH` is `off`. The tests then turn off the short path of the
/// accept loop, so that hyper serves every request.
pub fn uses_short_path() -> bool {
    !std::env::var("SHORT_PATH").is_ok_and(|value| value == "off")
}

pub use self::{
    http::{Http, HttpResponse, UPGRADE},
    http2::Http2,
    polling::{Polling, payload},
    recorder::Recorder,
    seeds::check_seeds,
    stream::{Endpoint, Stream},
    tree::Tree,
    waiting::{eventually, stalls, within},
    websocket::WebSocket,
    wire::Wire,
};
