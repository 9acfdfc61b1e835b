//! The Engine.IO protocol as pure state machines and codecs.
//!
//! This module performs no I/O, reads no clock and spawns no tasks. Time and bytes are passed as arguments.
//! The driver feeds inputs to [`session::Session`] and executes the outputs, so every interleaving of
//! transports can be tested on a virtual clock without a socket. This folder may import only `error` and
//! `shrink`, except in tests.

#![deny(clippy::disallowed_methods)]

pub(crate) mod budget;
pub(crate) mod deflate;
pub(crate) mod dialect;
#[cfg(feature = "forwarding")]
pub(crate) mod forward;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod heartbeat;
pub(crate) mod packet;
pub(crate) mod payload;
pub(crate) mod session;
pub(crate) mod sid;
pub(crate) mod websocket;
