//! What carries packets: HTTP requests for long-polling, a stream for WebSocket.

pub(crate) mod pace;
pub(crate) mod polling;
pub(crate) mod redundant;
pub(crate) mod scratch;
pub(crate) mod stream;
pub(crate) mod takeover;
pub(crate) mod websocket;
