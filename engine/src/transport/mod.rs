//! The transports of a session, which are the requests of long-polling, and the byte stream of a WebSocket
//! with its write queue and timeouts.
//!
//! This folder may import `config`, `metrics`, `proto`, `error` and `shrink`, but neither `session`, which
//! drives the transports, nor the higher folders `http`, `forward`, `engine` and `listen`.

pub(crate) mod http_stream;
pub(crate) mod peer_timeouts;
pub(crate) mod polling;
pub(crate) mod redundant;
pub(crate) mod stream;
pub(crate) mod thread_buffers;
pub(crate) mod timer;
#[cfg(feature = "tls")]
pub(crate) mod tls_stream;
pub(crate) mod upgrade;
pub(crate) mod websocket;
