//! A Socket.IO server: namespaces, rooms, acknowledgements and typed events for the official clients.
//!
//! ```no_run
//! use socketio::{Ack, Namespace, Server};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let chat = Namespace::new("/")
//!         .on("join", async |socket, room: String| socket.join(room))
//!         .on("say", async |socket, (room, text): (String, String)| {
//!             socket.to(room).emit("said", &text)?;
//!             Ok::<_, socketio::EventError>(Ack(text.len()))
//!         });
//!     Server::new().namespace(chat).listen("127.0.0.1:3000").await
//! }
//! ```
//!
//! # Namespaces and sockets
//!
//! A [`Namespace`] holds its event handlers, which are registered once, before the server starts. Each client
//! that joins it is represented by a [`Socket`]. [`Namespace::with_auth`] decides who may join, and its
//! return value becomes the typed [`data`](Socket::data) of the socket. Pass application state through it, as
//! an `Arc`.
//!
//! # Events
//!
//! A handler is an async function of the socket and the arguments of the event: `()` for no argument, a tuple
//! for several, any other type for the first one, see [`FromArgs`]. [`ToArgs`] is the counterpart for
//! sending. Code that does not know the types uses [`Args`]. Bytes inside types (`bytes::Bytes`,
//! `serde_bytes`) are sent as binary attachments. A [`TypedEvent`] binds the name of an event to a type, once
//! for both directions; with the feature `typescript`, the module `typescript` generates the TypeScript
//! interfaces for a frontend.
//!
//! The handlers of one socket start in the order in which its events arrive and may run concurrently, at most
//! [`max_in_flight`](Namespace::max_in_flight) at once; further events are queued. A panic in a handler is
//! logged and acknowledged as an internal error. A handler that computes for a long time delays its own
//! connection: move the computation to `tokio::task::spawn_blocking`.
//!
//! # Acknowledgements
//!
//! The return value of a handler is the acknowledgement, see [`IntoAck`]: nothing, [`Ack`], or an error, of
//! which the client receives only the public message ([`EventError`]). In the other direction,
//! [`Socket::emit_with_ack`] sends an event and resolves exactly once, to the acknowledgement of the client
//! or to an error.
//!
//! An acknowledgement and the events that its handler emits to the same socket arrive in the order in which
//! they were sent. The acknowledgement is sent when the handler returns, so an event emitted by another task
//! may arrive before it.
//!
//! # Rooms and broadcasts
//!
//! [`Socket::join`] adds a socket to a room; each socket is also in the room named after its id.
//! [`Socket::to`], [`Socket::broadcast`], [`Socket::namespace`] and [`Server::of`] select the recipients of
//! an event, see [`BroadcastOperator`]. (Node's `in` is a synonym of `to`, and a keyword in Rust.)
//!
//! # Serving
//!
//! [`Server::listen`] runs an accept loop with limits for an open port. [`Server`] is also a tower service
//! and a layer, for axum and any other server on hyper. Insert a [`RemoteAddr`] into the extensions of the
//! requests to provide [`Handshake::address`], and set `TCP_NODELAY` on the connections for long-polling. A
//! clone of the server can emit from anywhere, including the handlers of its own namespaces.
//!
//! [`Server::serve`] accepts connections from any [`Listener`]: TCP, a Unix socket behind a proxy, or TLS on
//! top of either (`Tls`, with the cargo feature `tls`). [`Server::close`] shuts everything down gracefully.
//!
//! # Logs
//!
//! Both crates log through `tracing`. The first occurrence of each of these is a warning: an event without a
//! handler, arguments of the wrong type, a refused connection, an exceeded limit.
//! `RUST_LOG=info,engineio=debug,socketio=debug` also shows further occurrences, and when sessions and
//! sockets open and close.
//!
//! # Testing
//!
#![cfg_attr(feature = "testing", doc = "Handlers are tested with the clients of the module [`testing`],")]
#![cfg_attr(not(feature = "testing"), doc = "Handlers are tested with the clients of the module `testing`,")]
//! which run in the process of the test: real packets, no network sockets, and no real waiting under the
//! paused clock of tokio.
//!
//! # Cargo features
//!
//! All are off by default, and none changes the behavior of another.
//!
//! | feature | adds |
//! |---|---|
//! | `compression` | `per_message_deflate` and `http_compression` of [`EngineConfig`] take effect |
//! | `metrics` | counters, gauges and histograms for a [`metrics`](https://docs.rs/metrics) recorder |
//! | `msgpack` | `MsgpackParser`, another encoding of packets |
//! | `testing` | clients for tests |
//! | `tls` | `Tls`, for [`Server::serve`] |
//! | `typescript` | TypeScript interfaces of the events, for a frontend |
//!
//! # Limits
//!
//! All limits are fields of [`ServerConfig`], [`EngineConfig`] and [`ListenConfig`], with finite defaults.
//! The messages queued for a client are bounded in bytes; a client that does not read them is disconnected or
//! loses messages, see [`SlowConsumerPolicy`].

mod config;
mod connection;
mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod handles;
mod hub;
mod metrics;
mod namespace;
mod proto;
mod registry;
mod server;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "typescript")]
pub mod typescript;

pub use config::{ConnectionStateRecovery, ServerConfig};
pub use engineio::{
    CloseReason, ConnectionError, Connections, Cookie, Cors, EngineConfig, Frame, Hooks, HttpCompression,
    Limit, ListenConfig, Listener, Message, PerMessageDeflate, RemoteAddr, RequestBody, RequestError,
    RequestKind, SameSite, Secure, SendError, SendWaiter, SessionHandle, Shutdown, Sid, SlowConsumerPolicy,
    TransportKind,
};
#[cfg(feature = "tls")]
pub use engineio::{Tls, TlsConfig, TlsListener, rustls};
pub use event::{
    Ack, AckResponse, EventName, HookResult, IntoAck, NoAck, TypedEvent,
    args::{Args, WithAckFlag},
    error::{AckError, DecodeError, EmitError, EventError, JoinError},
    handshake::{ConnectError, Handshake},
    reason::DisconnectReason,
};
pub use handles::{
    ack::AckRequest,
    broadcast::BroadcastOperator,
    broadcast_ack::{BroadcastAckRequest, BroadcastAnswers, ServerAnswers},
    emit::EmitOperator,
    remote_socket::{FetchError, RemoteSocket},
    socket::Socket,
    sockets::Sockets,
};
pub use hub::{
    cluster::{ServerId, memory::MemoryBus},
    room_events::RoomEvent,
    rooms::Room,
};
pub use namespace::{
    Namespace,
    middleware::{Event, Next},
};
#[cfg(feature = "msgpack")]
pub use proto::msgpack::MsgpackParser;
pub use proto::{
    args::{FromArgs, ToArgs},
    parser::{Decoder, Packet, PacketKind, ParseError, Parser, ParserLimits},
};
pub use server::{
    Server,
    service::{BodyError, ResponseBody, ResponseFuture, ServerService},
};
/// Re-exports of the crates whose types appear in public signatures, in the versions used here.
pub use {bytes, http, serde_json};

/// Compiles the code in the deployment guide.
#[cfg(all(doctest, feature = "tls", unix))]
#[doc = include_str!("../../docs/deployment.md")]
struct Deployment;

/// Compiles the code in the guide to frameworks.
#[cfg(doctest)]
#[doc = include_str!("../../docs/frameworks.md")]
struct Frameworks;

/// Compiles the code in the guide to migrating from Node.js.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../docs/migrating-from-node.md")]
struct MigratingFromNode;

/// Compiles the code in the guide to migrating from socketioxide.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../docs/migrating-from-socketioxide.md")]
struct MigratingFromSocketioxide;

/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
