//! A Socket.IO server with namespaces, rooms, acknowledgements and typed events, for the official clients.
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
//! The [guide](crate::guide) has a page for each task, from the first server to a cluster.
//!
//! # Namespaces and sockets
//!
//! A [`Namespace`] holds event handlers, which are registered once, before the server starts. Each client
//! that joins a namespace is represented by a [`Socket`]. The function passed to [`Namespace::with_auth`]
//! decides whether a client may join, and its return value becomes the typed [`data`](Socket::data) of the
//! socket. To share application state with handlers, return it as data, in an `Arc`.
//!
//! # Events
//!
//! A handler is an async function that receives the socket and the arguments of the event. The argument type
//! is `()` for no arguments, a tuple for several arguments, and any other type for the first argument; see
//! [`FromArgs`]. The arguments of events to clients implement [`ToArgs`]. Code that does not know the
//! argument types uses [`Args`]. Byte values inside arguments (`bytes::Bytes`, `serde_bytes`) are sent as
//! binary attachments. A [`TypedEvent`] binds the name of an event to one argument type for both directions.
//! With the feature `typescript`, the module `typescript` generates TypeScript interfaces of the events for a
//! frontend.
//!
//! The handlers of one socket start in the order in which the events arrive. At most
//! [`max_in_flight`](Namespace::max_in_flight) handlers of a socket run concurrently; further events are
//! queued. A panic in a handler is logged and acknowledged as an internal error. A handler that computes for
//! a long time delays all other work of its connection; move such computations to
//! `tokio::task::spawn_blocking`.
//!
//! # Acknowledgements
//!
//! The return value of a handler is sent as the acknowledgement; see [`IntoAck`]. A handler returns `()`, an
//! [`Ack`] or an error. The client receives only the public message of an error; see [`EventError`]. In the
//! other direction, [`Socket::emit_with_ack`] sends an event and resolves exactly once, either to the
//! acknowledgement of the client or to an error.
//!
//! An acknowledgement and the events that the handler emits to the same socket arrive in the order in which
//! they were sent. The acknowledgement is sent when the handler returns, so an event emitted by another task
//! may arrive before it.
//!
//! # Rooms and broadcasts
//!
//! [`Socket::join`] adds a socket to a room. Each socket is also a member of the room named after the id of
//! the socket. [`Socket::to`], [`Socket::broadcast`], [`Socket::namespace`] and [`Server::of`] select the
//! recipients of an event; see [`BroadcastOperator`]. The Node.js method `in` is a synonym of `to`, and has
//! no counterpart here because `in` is a keyword in Rust.
//!
//! # Serving
//!
//! [`Server::listen`] runs an accept loop with the limits that a port open to the internet needs. [`Server`]
//! is also a tower service and a tower layer, for use with axum and any other server based on hyper. With
//! such a server, insert a [`RemoteAddr`] into the extensions of each request to provide
//! [`Handshake::address`], and set `TCP_NODELAY` on the connections to avoid delays in long-polling. A clone
//! of the server can emit from anywhere, including the handlers of its own namespaces.
//!
//! [`Server::serve`] accepts connections from any [`Listener`], for example a TCP socket, a Unix socket
//! behind a proxy, or TLS over either of them (`Tls`, with the cargo feature `tls`). [`Server::close`] shuts
//! down the server gracefully.
//!
//! # Clusters
//!
//! [`Server::with_cluster`] connects a server to the other servers of a cluster: over Redis with the crate
//! `socketio-redis`, whose servers may form one cluster with servers of Node.js, or in one process with a
//! [`MemoryBus`]. Broadcasts then reach the sockets of all servers, and so do the methods of
//! [`BroadcastOperator`] that fetch, move and disconnect sockets. The module [`cluster`] has the traits for
//! other brokers.
//!
//! # Logs
//!
//! The crates `engineio` and `socketio` log through `tracing`. An event without a handler, arguments of the
//! wrong type, a rejected connection and an exceeded limit are each logged as a warning at the first
//! occurrence. `RUST_LOG=info,engineio=debug,socketio=debug` also shows further occurrences, and the opening
//! and closing of sessions and sockets.
//!
//! # Testing
//!
#![cfg_attr(feature = "testing", doc = "Handlers are tested with the clients of the module [`testing`],")]
#![cfg_attr(not(feature = "testing"), doc = "Handlers are tested with the clients of the module `testing`,")]
//! which run in the process of the test. The clients exchange real packets with the server without network
//! sockets. Under the paused clock of tokio, timeouts elapse without real waiting.
//!
//! # Cargo features
//!
//! All features are off by default. No feature changes the behavior of another feature.
//!
//! | feature | adds |
//! |---|---|
//! | `compression` | support for `per_message_deflate` and `http_compression` of [`EngineConfig`] |
//! | `forwarding` | `EngineConfig::forwarding` and `Server::serve_forwarded`, for clusters without sticky sessions |
//! | `metrics` | counters, gauges and histograms for a [`metrics`](https://docs.rs/metrics) recorder |
//! | `msgpack` | `MsgpackParser`, which encodes packets as MessagePack |
//! | `rate-limit` | `RateLimit` in the module [`middleware`] |
//! | `testing` | the module `testing`, with clients for tests |
//! | `tls` | `Tls`, a TLS listener for [`Server::serve`] |
//! | `typescript` | the module `typescript`, which generates TypeScript interfaces of the events |
//!
//! # Limits
//!
//! Limits are fields of [`ServerConfig`], [`EngineConfig`] and [`ListenConfig`], except for
//! [`Namespace::max_in_flight`]. All limits have finite defaults. The queue of messages for a client is
//! bounded in bytes. A client that does not read its messages is disconnected or misses some of them,
//! depending on the configured [`SlowConsumerPolicy`].

// docs.rs names the cargo feature of each item.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod connection;
mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(any(
    all(doc, not(doctest)),
    all(
        doctest,
        unix,
        feature = "compression",
        feature = "forwarding",
        feature = "rate-limit",
        feature = "testing",
        feature = "tls"
    )
))]
pub mod guide;
mod handles;
mod hub;
mod metrics;
pub mod middleware;
mod namespace;
mod proto;
mod registry;
mod server;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "typescript")]
pub mod typescript;

/// Connects the servers of a cluster. Implement [`Broker`](cluster::Broker) and [`Backend`](cluster::Backend)
/// for a message broker of your own.
pub mod cluster {
    pub use crate::hub::{
        ack_collector::Outcome as AckOutcome,
        acks::AckArgs,
        cluster::{
            Backend, BroadcastFlags, Broker, ClusterFull, ClusterStatus, EventPacket, Inbound, Inbox,
            LogEntries, LogOffset, Message, Operation, Receivers, RecoveryStore, Reply, ReplyBody, RequestId,
            SavedSession, ServerId, Unavailable,
        },
        rooms::Target,
        summary::Summary as SocketSummary,
    };

    /// Encodes and decodes the messages of the adapters of Node.js, for brokers that connect servers of both
    /// kinds.
    #[cfg(feature = "msgpack")]
    pub mod node {
        pub use crate::hub::cluster::node::{
            Decoded, Encoded, Malformed, Object, Options, decode, decode_broadcast, decode_fields, decode_in,
            encode_broadcast, encode_message, encode_reply, event, msgpack_from_json, msgpack_to_json,
            options_json, summary_from_json, summary_to_json,
        };
    }
}

pub use config::{ConnectionStateRecovery, ServerConfig};
#[cfg(feature = "forwarding")]
pub use engineio::Forwarding;
pub use engineio::{
    BoxFuture, ChannelListener, CloseReason, ConnectionError, Connections, Cookie, Cors, EngineConfig, Frame,
    Limit, ListenConfig, Listener, Message, MessageCounter, RemoteAddr, RequestBody, RequestError,
    RequestKind, SameSite, Secure, SendError, Shutdown, Sid, SlowConsumerPolicy, Traffic, TransportKind,
};
#[cfg(feature = "compression")]
pub use engineio::{HttpCompression, PerMessageDeflate};
#[cfg(feature = "tls")]
pub use engineio::{Tls, TlsConfig, TlsInfo, TlsListener, TlsStream, rustls};
pub use event::{
    Ack, AckResponse, EventName, HookResult, IntoAck, NoAck, TypedEvent,
    args::{Args, WithAckFlag},
    error::{AckError, DecodeError, EmitError, EncodeError, EventError, JoinError},
    handshake::{ConnectError, Handshake},
    reason::DisconnectReason,
};
pub use handles::{
    ack::AckRequest,
    broadcast::BroadcastOperator,
    broadcast_ack::{BroadcastAckRequest, BroadcastAnswers, ServerAnswers},
    emit::EmitOperator,
    local_socket::LocalSocket,
    remote_socket::{FetchError, RemoteSocket},
    session::Session,
    socket::Socket,
    sockets::Sockets,
};
pub use hub::{
    cluster::{ServerId, memory::MemoryBus},
    observation::{ObservedEvent, Observer},
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
    health::HealthService,
    serve::Serve,
    service::{BodyError, ResponseBody, ResponseFuture, ServerService},
};
/// Re-exports the crates whose types appear in public signatures, in the versions that this crate uses.
pub use {bytes, http, serde_json};

/// Compiles the code in the READMEs of the project and of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../README.md")]
struct Readme;
