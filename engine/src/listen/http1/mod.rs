//! HTTP/1.1 for the accept loop: the subset that a server for polls and WebSocket upgrades needs.
//!
//! hyper keeps two buffers of 8 KiB per connection, and accounts for half of the cost of a poll. Here, a
//! connection that waits for a request or a response owns no buffer at all. Other servers, such as axum, do
//! not use this module.
//!
//! It is strict where leniency enables request smuggling: a request has one length, `chunked` has one
//! spelling, and a request never has both.

mod body;
mod chunked;
mod clock;
mod connection;
mod head;
mod response_head;
mod writer;

pub use self::body::RequestBody;
pub(super) use self::connection::{Connection, lingering_close};
