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
//! A [`Namespace`] holds the handlers of its events; they are registered once, before the server starts. A client that
//! joins it becomes a [`Socket`]. [`Namespace::with_auth`] decides who may join, and what it returns is the
//! [`data`](Socket::data) of the socket, typed: application state travels in it, as an `Arc`.
//!
//! # Events
//!
//! A handler is an async function of the socket and the arguments of the event. `()` takes no argument, a tuple
//! several, any other type the first one: see [`FromArgs`], and [`ToArgs`] for the way back. Code that does not know the
//! types takes [`Args`]. Bytes inside of types (`bytes::Bytes`, `serde_bytes`) travel as binary attachments. A
//! [`TypedEvent`] binds the name of an event to its type, once for both directions; with the feature `typescript`, the
//! module `typescript` writes these types for a frontend in TypeScript.
//!
//! Handlers of one socket start in the order in which its events arrive and may overlap while they wait; at most
//! [`max_in_flight`](Namespace::max_in_flight) run at once, and further events wait. One that panics is
//! logged and answered as an internal error. A handler that computes for long delays its own connection: move the
//! computation to `tokio::task::spawn_blocking`.
//!
//! # Acknowledgements
//!
//! What a handler returns is the acknowledgement, see [`IntoAck`]: nothing, [`Ack`], or an error, of which the client
//! hears only the public message ([`EventError`]). The other way, [`Socket::emit_with_ack`] sends an event and
//! waits for the client's answer, which arrives once or fails once.
//!
//! An acknowledgement and the events that its handler emits to the same socket arrive in the order in which they were
//! made, so an event that is emitted by another task in between may come before the acknowledgement.
//!
//! # Rooms and broadcasts
//!
//! [`Socket::join`] adds a socket to a room; each is also in the room of its own id. [`Socket::to`],
//! [`Socket::broadcast`], [`Socket::namespace`] and [`Server::of`] choose whom an event goes to, see
//! [`BroadcastOperator`]. (Node's `in` is another name for `to`, and a keyword in Rust.)
//!
//! # Serving
//!
//! [`Server::listen`] is an accept loop with limits for an open port. [`Server`] is also a tower service and a layer,
//! for axum and any other server on hyper; insert a [`RemoteAddr`] into the extensions of the requests if
//! [`Handshake::address`] is to know it, and set `TCP_NODELAY` on the connections for long-polling. A clone of the server
//! emits from anywhere, also from the handlers of its own namespaces.
//!
//! [`Server::serve`] takes any [`Listener`]: TCP, a Unix socket behind a proxy, or TLS on top of either (`Tls`, with the
//! cargo feature `tls`). [`Server::close`] ends all of it gracefully.
//!
//! # Logs
//!
//! Both crates log through `tracing`. The first event without a handler, arguments that do not fit, a refused connection
//! and a limit that was hit are warnings; `RUST_LOG=info,engineio=debug,socketio=debug` shows all of it, and when sessions
//! and sockets come and go.
//!
//! # Testing
//!
#![cfg_attr(feature = "testing", doc = "Handlers are tested with the clients of the module [`testing`],")]
#![cfg_attr(not(feature = "testing"), doc = "Handlers are tested with the clients of the module `testing`,")]
//! which live in the process of the test: real packets, no sockets, and a clock that does not have to be waited for.
//!
//! # Cargo features
//!
//! None is on by default, and none changes what the others do.
//!
//! | feature | adds |
//! |---|---|
//! | `compression` | `per_message_deflate` and `http_compression` of [`EngineConfig`] work |
//! | `metrics` | counters, gauges and histograms for a recorder of the crate [`metrics`](https://docs.rs/metrics) |
//! | `msgpack` | `MsgpackParser`, another encoding of packets |
//! | `testing` | clients for tests |
//! | `tls` | `Tls`, for [`Server::serve`] |
//! | `typescript` | the interfaces of the events for a frontend in TypeScript |
//!
//! # Limits
//!
//! All limits are fields of [`ServerConfig`], [`EngineConfig`] and [`ListenConfig`], with finite defaults. What waits for
//! a client is bounded in bytes; one that does not take its messages is disconnected, or misses some: see
//! [`SlowConsumerPolicy`].

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
/// The crates whose types appear in signatures, in the versions that are used here.
pub use {bytes, http, serde_json};

/// The code in the guide to deployment is compiled.
#[cfg(all(doctest, feature = "tls", unix))]
#[doc = include_str!("../../docs/deployment.md")]
struct Deployment;

/// The code in the guide to frameworks is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/frameworks.md")]
struct Frameworks;

/// The code in the guide for those who come from Node.js is compiled.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../docs/migrating-from-node.md")]
struct MigratingFromNode;

/// The code in the guide for those who come from socketioxide is compiled.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../docs/migrating-from-socketioxide.md")]
struct MigratingFromSocketioxide;

/// The code in the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
