//! The Engine.IO protocol as pure state machines and codecs.
//!
//! Nothing in here does I/O, reads a clock or knows of tasks: time and bytes are arguments. The driver feeds
//! [`session::Session`] with what happened and carries out what it answers, so every interleaving of
//! transports can be tested on a virtual clock without a socket.

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
