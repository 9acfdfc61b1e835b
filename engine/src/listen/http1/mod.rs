//! HTTP/1.1 for the accept loop, limited to what polls and WebSocket upgrades require.
//!
//! hyper keeps two buffers of 8 KiB per connection, and accounts for half of the cost of a poll. A connection
//! of this module has no buffer while it waits for a request or a response. Other servers, such as axum, do
//! not use this module.
//!
//! The parser is strict where leniency enables request smuggling: a request has one length, `chunked` has one
//! spelling, and a request never has both a length and `chunked`.

mod body;
mod chunked;
mod clock;
mod connection;
mod head;
mod response_head;
mod writer;

pub use self::body::RequestBody;
pub(super) use self::connection::{Connection, lingering_close};
