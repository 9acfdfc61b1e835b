//! The HTTP side of the engine. This folder parses and filters requests, reads bodies, and builds responses.
//! A checked request becomes an [`Intent`](request::Intent), which the engine executes. The folder may import
//! `session`, `transport`, `config`, `metrics`, `proto`, `error` and `shrink`, but not `forward`,
//! `engine` or `listen`.
//! It does not read from or write to connections. The accept loop in `listen`, or a server such as hyper,
//! does that.

pub(crate) mod body;
#[cfg_attr(not(feature = "compression"), path = "coding_off.rs")]
pub(crate) mod coding;
pub(crate) mod filter;
pub(crate) mod origin;
#[cfg_attr(not(feature = "compression"), path = "permessage_deflate_off.rs")]
pub(crate) mod permessage_deflate;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod response_body;
pub(crate) mod session_request;
pub(crate) mod view;
pub(crate) mod websocket_handshake;
