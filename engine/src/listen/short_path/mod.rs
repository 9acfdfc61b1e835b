//! The short path, which answers plain requests to the engine without hyper.
//!
//! hyper keeps two buffers of 8 KiB per connection, and accounts for half of the cost of a poll. A connection of
//! this module has no buffer while it waits for a request or a response. It takes a request only if its head is
//! complete, its version is HTTP/1.1, its path is that of the engine, and it is a GET without a body or a POST with
//! a `Content-Length`. Everything else is left to hyper, and the connection with it.

pub(super) mod body;
mod connection;
mod head;
mod response_head;
mod writer;

use std::sync::Arc;

use http::{Request, Response};

pub(super) use self::connection::{Connection, Outcome};
use crate::{
    Application, BoxFuture, Engine, ResponseBody, engine::service::Shortcut,
    listen::request_body::RequestBody,
};

/// The engine behind the short path.
pub(super) struct ShortPath {
    path: Box<str>,
    /// Responds to polls and POSTs of open sessions.
    shortcut: Shortcut,
    /// Responds to all other requests.
    handle: Box<Handle>,
}

type Handle = dyn Fn(Request<RequestBody>) -> BoxFuture<Response<ResponseBody>> + Send + Sync;

impl ShortPath {
    pub(super) fn new<A: Application>(engine: &Engine<A>, path: &str) -> Arc<Self> {
        let (shortcut, engine) = (engine.shortcut(), engine.clone());
        Arc::new(Self {
            path: path.into(),
            shortcut,
            handle: Box::new(move |request| engine.handle(request)),
        })
    }
}
