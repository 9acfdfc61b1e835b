//! The accept loop, which serves HTTP with the limits that an open port needs.
//!
//! The folder accepts connections, answers plain requests to the engine (`short_path/`), and has hyper serve
//! everything else (`hyper_server/`). It is the uppermost folder: it may import all others (`engine`, `forward`, `http`,
//! `session`, `transport`, `config`, `metrics`, `proto`, `error`, `shrink`), and none of them may import it. A
//! server such as axum replaces the whole folder.

mod accept;
mod clock;
pub(crate) mod connections;
pub(crate) mod drain;
#[cfg(feature = "forwarding")]
pub(crate) mod forwarded;
mod host;
mod hyper_server;
mod linger;
pub(crate) mod listener;
pub(crate) mod request_body;
pub(crate) mod serve;
mod short_path;
#[cfg(feature = "tls")]
pub(crate) mod tls;
