//! Implements the Socket.IO protocol as codecs without I/O: <https://socket.io/docs/v4/socket-io-protocol/>.
//!
//! This module may use the frame and message types of `engineio`. It must not import any other module of this
//! crate, do I/O, read a clock or depend on sessions.

pub(crate) mod args;
pub(crate) mod attachments;
pub(crate) mod binary;
pub(crate) mod elements;
pub(crate) mod encode;
pub(crate) mod json;
pub(crate) mod leniency;
#[cfg(feature = "msgpack")]
pub(crate) mod msgpack;
pub(crate) mod packet;
pub(crate) mod parser;
pub(crate) mod sealed;
