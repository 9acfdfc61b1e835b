//! HTTP/1.1 for the accept loop: as much of it as a server needs that answers polls and hands connections over to WebSocket.
//!
//! hyper keeps two buffers of 8 KiB for a connection, and half of what a poll costs a server is spent in it. Here a
//! connection that waits, for a request or for the answer to one, owns no buffer at all. Whoever brings a server of
//! their own, such as axum's, does without this module.
//!
//! It is strict where leniency is how requests are smuggled: one length, one spelling of `chunked`, never both.

mod answer;
mod body;
mod chunked;
mod clock;
mod connection;
mod head;
mod response;

pub use self::body::RequestBody;
pub(super) use self::connection::{Connection, lingering_close};
