//! Engine.IO sessions and transports: long-polling, WebSocket, the upgrade between them, and the heartbeat.
//!
//! This is the layer below [`socketio`](https://docs.rs/socketio); most users want that crate instead. An
//! [`Engine`] serves HTTP requests for an [`Application`], which creates a [`Connection`] for each session.
//! One task per session calls the connection with each message and transmits the messages sent through the
//! [`SessionHandle`].
//!
//! The crate implements revision 4 of the Engine.IO protocol,
//! <https://socket.io/docs/v4/engine-io-protocol/>, and revision 3 if
//! [`allow_eio3`](EngineConfig::allow_eio3) is set.
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `compression` | off | [`EngineConfig::per_message_deflate`] and [`EngineConfig::http_compression`] |
//! | `forwarding` | off | [`EngineConfig::forwarding`], for clusters without sticky sessions |
//! | `metrics` | off | counters, gauges and histograms for a recorder of the crate [`metrics`](https://docs.rs/metrics) |
//! | `tls` | off | `Tls`, which adds TLS to a [`Listener`] |

// docs.rs names the cargo feature of each item.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod engine;
mod error;
#[cfg(feature = "forwarding")]
mod forward;
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

#[cfg(feature = "compression")]
pub use config::compression::{HttpCompression, PerMessageDeflate};
#[cfg(feature = "forwarding")]
pub use config::forwarding::Forwarding;
pub use config::{
    cookie::{Cookie, SameSite},
    cors::Cors,
    engine::EngineConfig,
    hooks::RequestKind,
    listen::ListenConfig,
    overflow::SlowConsumerPolicy,
};
pub use engine::{
    Engine,
    service::{BoxFuture, ResponseFuture},
    shutdown::Shutdown,
};
pub use error::{ConnectionError, RequestError};
// `socketio` uses these functions to compress the client bundles.
#[doc(hidden)]
pub use http::coding::{__encode_once, __preferred_coding};
pub use http::response_body::ResponseBody;
#[cfg(feature = "forwarding")]
pub use listen::forwarded::Forwarded;
#[cfg(feature = "tls")]
pub use listen::tls::{Tls, TlsConfig, TlsInfo, TlsListener};
pub use listen::{
    connections::Connections,
    listener::{ChannelListener, Listener},
    request_body::RequestBody,
    serve::{Serve, serve},
};
#[doc(hidden)]
pub use metrics::rate_limit::RateLimit as __RateLimit;
pub use metrics::{
    limits::Limit,
    traffic::{MessageCounter, Traffic},
};
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
/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The rustls crate, in the version whose types [`Tls`] accepts.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
#[cfg(feature = "tls")]
pub use transport::tls_stream::TlsStream;
