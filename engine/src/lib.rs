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

mod config;
mod engine;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod http;
mod listen;
mod metrics;
mod proto;
mod session;
mod shrink;
mod transport;

// `socketio` serves the bundles of the client with it.
pub use config::{
    compression::{HttpCompression, PerMessageDeflate},
    cookie::{Cookie, SameSite},
    cors::Cors,
    engine::EngineConfig,
    hooks::{Hooks, RequestKind},
    listen::ListenConfig,
    overflow::SlowConsumerPolicy,
};
pub use engine::{
    Engine,
    service::{BoxFuture, ResponseFuture},
    shutdown::Shutdown,
};
pub use error::{ConnectionError, RequestError};
#[doc(hidden)]
pub use http::coding::{__encode_once, __preferred_coding};
#[cfg(feature = "tls")]
pub use listen::tls::{Tls, TlsConfig, TlsListener};
pub use listen::{connections::Connections, http1::RequestBody, listener::Listener, serve};
pub use metrics::limits::Limit;
#[doc(hidden)]
pub use metrics::rate_limit::RateLimit as __RateLimit;
pub use proto::{
    frame::Frame,
    packet::{Message, TransportKind},
    session::CloseReason,
    sid::Sid,
};
pub use session::{
    application::{Application, Connection},
    handshake_request::{HandshakeRequest, RemoteAddr, Secure},
    mailbox::{SendError, SendWaiter, SessionHandle},
};
#[doc(hidden)]
pub use shrink::Shrink as __Shrink;
/// The TLS library, in the version whose options [`Tls`] takes.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
