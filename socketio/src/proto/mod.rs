//! The Socket.IO protocol as pure codecs: <https://socket.io/docs/v4/socket-io-protocol/>.
//!
//! Nothing in here does I/O, reads a clock or knows of the engine's sessions.

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
