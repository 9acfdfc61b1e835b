//! Engine.IO sessions and transports: long-polling, WebSocket, the upgrade between them, and the heartbeat.
//!
//! This is the layer below [`socketio`](https://docs.rs/socketio), which most users want instead. An
//! [`Engine`] answers HTTP requests for an [`Application`], which makes a [`Connection`] for each session. The
//! session's one task calls it with each message, and carries what is sent through its [`SessionHandle`].
//!
//! The protocol is revision 4, <https://socket.io/docs/v4/engine-io-protocol/>.
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `compression` | off | [`EngineConfig::per_message_deflate`] and [`EngineConfig::http_compression`] work |
//! | `metrics` | off | counters, gauges and histograms for a recorder of the crate [`metrics`](https://docs.rs/metrics) |
//! | `tls` | off | `Tls`, which puts TLS in front of a [`Listener`] |

mod admission;
mod answer;
mod body;
mod budget;
mod compression;
mod config;
mod connection;
mod cookie;
mod cors;
mod descriptors;
mod driver;
mod engine;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod hooks;
mod limits;
mod listen;
mod mailbox;
mod metrics;
mod open_request;
mod origin;
mod outbound;
mod proto;
mod rate_limit;
mod registry;
mod request;
mod service;
mod shrink;
mod shutdown;
mod slow_consumer;
mod timer;
mod transport;
mod waiters;

// `socketio` serves the bundles of the client with it.
pub use compression::options::{HttpCompression, PerMessageDeflate};
#[doc(hidden)]
pub use compression::{__encode_once, __preferred_coding};
pub use config::EngineConfig;
pub use connection::{Application, Connection};
pub use cookie::{Cookie, SameSite};
pub use cors::Cors;
pub use engine::Engine;
pub use error::{ConnectionError, RequestError};
pub use hooks::{Hooks, RequestKind};
pub use limits::Limit;
#[cfg(feature = "tls")]
pub use listen::tls::{Tls, TlsConfig, TlsListener};
pub use listen::{
    config::ListenConfig, connections::Connections, http1::RequestBody, listener::Listener, serve,
};
pub use mailbox::{SendError, SessionHandle, Waiting};
pub use open_request::{OpenRequest, RemoteAddr, Secure};
pub use proto::{
    frame::Frame,
    packet::{Message, TransportKind},
    session::CloseReason,
    sid::Sid,
};
#[doc(hidden)]
pub use rate_limit::RateLimit as __RateLimit;
pub use service::{Answered, BoxFuture};
#[doc(hidden)]
pub use shrink::Shrink as __Shrink;
pub use shutdown::Shutdown;
pub use slow_consumer::SlowConsumer;
/// The TLS library, in the version whose options [`Tls`] takes.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
