//! What carries packets: HTTP requests for long-polling, a stream for WebSocket.

pub(crate) mod peer_timeouts;
pub(crate) mod polling;
pub(crate) mod redundant;
pub(crate) mod stream;
pub(crate) mod thread_buffers;
pub(crate) mod timer;
pub(crate) mod upgrade;
pub(crate) mod websocket;
