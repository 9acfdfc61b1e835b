//! The Engine.IO protocol as pure state machines and codecs.
//!
//! Nothing here performs I/O, reads a clock or spawns tasks: time and bytes are arguments. The driver feeds
//! [`session::Session`] with inputs and carries out its outputs, so every interleaving of transports can be
//! tested on a virtual clock without a socket. This folder may import `error` and `shrink` only, except in
//! tests.

#![deny(clippy::disallowed_methods)]

pub(crate) mod budget;
pub(crate) mod deflate;
pub(crate) mod dialect;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod heartbeat;
pub(crate) mod packet;
pub(crate) mod payload;
pub(crate) mod session;
pub(crate) mod sid;
pub(crate) mod websocket;
