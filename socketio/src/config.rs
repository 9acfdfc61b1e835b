//! The options of the server, under the names that the Node.js server uses.
//!
//! This module defines the public option structs. It may import `proto` only, as a sibling of `event`; all
//! layers above read it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use engineio::{EngineConfig, ListenConfig};

use crate::proto::{json::MAX_DEPTH, packet::PacketLimits, parser::Parser};

engineio::__config! {
    /// The options of a [`Server`](crate::Server). Every limit is finite by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use socketio::{EngineConfig, Server, ServerConfig};
    ///
    /// let config = ServerConfig::default()
    ///     .path("/realtime")
    ///     .engine(EngineConfig::default().ping_interval(Duration::from_secs(10)));
    /// let io = Server::with_config(config);
    /// ```
    ServerConfig {
        /// The options of the Engine.IO layer: heartbeat, transports, sizes.
        engine: EngineConfig = EngineConfig::default(),
        /// The options of the accept loop for [`listen`](crate::Server::listen) and
        /// [`serve`](crate::Server::serve): connection limits and timeouts.
        listen: ListenConfig = ListenConfig::default(),
        /// The path that clients connect to. `/socket.io` by default. Node: `path`.
        path: String = "/socket.io".to_owned(),
        /// `true` if the path ends with a slash, as the official clients expect. `true` by default. Node:
        /// `addTrailingSlash`.
        add_trailing_slash: bool = true,
        /// The directory of the official client's bundles (`node_modules/socket.io-client/dist`), which are
        /// served under the path as `socket.io.js` and so on. Empty by default: none are served. Node:
        /// `serveClient`, which is on there because the bundles ship with the server's package.
        serve_client: PathBuf = PathBuf::new(),
        /// A custom packet encoding, such as `MsgpackParser` of the feature `msgpack`. All clients must use
        /// the same one; each server of a cluster may have its own. `None` by default: the encoding of the
        /// protocol. Node: `parser`.
        parser: Option<Arc<dyn Parser>> = None,
        /// The time within which a client must join a namespace. 10 seconds by default; Node:
        /// `connectTimeout`, 45 seconds.
        connect_timeout: Duration = Duration::from_secs(10),
        /// The maximum time that [`on_disconnect`](crate::Namespace::on_disconnect) waits for running
        /// handlers of a disconnected socket. 1 second by default. Handlers that run longer are not
        /// cancelled.
        disconnect_grace: Duration = Duration::from_secs(1),
        /// The default timeout of [`emit_with_ack`](crate::Socket::emit_with_ack). 10 seconds by default;
        /// Node waits forever.
        ack_timeout: Duration = Duration::from_secs(10),
        /// The maximum number of pending acknowledgements per socket. 16,384 by default; beyond it, an emit
        /// fails with [`EmitError::TooManyAcks`](crate::EmitError::TooManyAcks). It also bounds the handlers
        /// of a socket that wait for an acknowledgement from its client, which
        /// [`max_in_flight`](crate::Namespace::max_in_flight) does not count. Node has no limit.
        max_pending_acks: usize = 16_384,
        /// The maximum number of room events queued for [`on_room`](crate::Namespace::on_room), per
        /// namespace. 65,536 by default; further events are dropped, and
        /// [`RoomEvent::Missed`](crate::RoomEvent::Missed) reports their number.
        max_room_events: usize = 65_536,
        /// The timeout of requests to other servers of a cluster, such as
        /// [`fetch_sockets`](crate::BroadcastOperator::fetch_sockets). 5 seconds by default, as in Node:
        /// `requestsTimeout` of its adapters.
        requests_timeout: Duration = Duration::from_secs(5),
        /// The maximum number of concurrent requests from other servers of a cluster: server event handlers,
        /// and broadcasts whose acknowledgements are collected here. 4,096 by default; beyond it, a request
        /// is rejected, and the requesting server reports this one as missing. Node has no limit.
        max_cluster_requests: usize = 4096,
        /// The maximum number of namespaces per connection. 64 by default; beyond it, a client is refused.
        /// Node has no limit.
        max_namespaces: usize = 64,
        /// The maximum number of child namespaces of [dynamic](crate::Server::dynamic) namespaces that exist
        /// at a time. 10,000 by default; beyond it, a client that needs a new one is refused.
        max_dynamic_namespaces: usize = 10_000,
        /// `true` if a child namespace is removed when its last client leaves. `true` by default. Node:
        /// `cleanupEmptyChildNamespaces`, which is off there.
        cleanup_empty_child_namespaces: bool = true,
        /// The maximum number of refused attempts to join a namespace per connection. 32 by default; beyond
        /// it, the connection is closed.
        max_connect_attempts: usize = 32,
        /// The maximum size in bytes of the events of one connection, over all its namespaces, that wait for
        /// their handlers, with a small overhead for each. 1 MiB by default; at the limit, the connection
        /// stops reading until handlers return, which applies backpressure to the client. A single event is
        /// always accepted. Node has no limit.
        max_waiting_bytes: usize = 1024 * 1024,
        /// The maximum number of attachments in a packet from a client. 10 by default, as in Node:
        /// `maxAttachments` of its parser; beyond it, the connection is closed. A custom
        /// [`parser`](field@Self::parser) has its own limit.
        max_attachments: usize = 10,
        /// The maximum nesting depth of arrays and objects in a packet from a client, including the array of
        /// the packet itself. 128 by default, which is also the largest allowed value; beyond it, the
        /// connection is closed. Node has no limit.
        max_json_depth: usize = MAX_DEPTH,
        /// The maximum length of a namespace name, in bytes. 256 by default; beyond it, the connection is
        /// closed. Node has no limit.
        max_namespace_length: usize = 256,
        /// The maximum length of an event name from a client and of a room name, in bytes. 4,096 by default;
        /// beyond it, the event is acknowledged with an error, or a join fails with
        /// [`JoinError::NameTooLong`](crate::JoinError::NameTooLong). Node has no limit.
        max_name_length: usize = 4096,
        /// The maximum number of rooms per socket, in addition to the room of its own id. 65,536 by default;
        /// beyond it, a join fails with [`JoinError::TooManyRooms`](crate::JoinError::TooManyRooms). A room
        /// takes up to 32 bytes per member, plus its name; choose a lower limit if clients choose the names.
        /// Node has no limit.
        max_rooms: usize = 65_536,
        /// The options of connection state recovery, which restores the socket and the missed events of a
        /// client that reconnects. `None` by default: a client that reconnects gets a new socket. Node:
        /// `connectionStateRecovery`.
        connection_state_recovery: Option<ConnectionStateRecovery> = None,
    }
}

engineio::__config! {
    /// Connection state recovery: a client that reconnects after a short interruption gets its socket back,
    /// with its id, its [data](crate::Socket::data), its rooms and the events that it missed.
    ///
    /// The state is kept in the memory of this server, per namespace; a client that reconnects to another
    /// server gets a new socket. Recovery is best effort: if the server cannot guarantee that a client gets
    /// all missed events, the client gets a new socket, and [`Socket::recovered`](crate::Socket::recovered)
    /// and `socket.recovered` of the client report it. A socket that was disconnected by either side is not
    /// kept.
    ///
    /// Events carry their offset as an additional last argument, as with Node. Events with an acknowledgement
    /// carry none and are not sent again; neither are volatile events. Events of one namespace are queued one
    /// after the other, so that all clients see increasing offsets.
    ///
    /// Clients of version 2 always get a new socket.
    ///
    /// Expired state is removed by the next activity in its namespace, without a timer. A child of a
    /// [dynamic](crate::Server::dynamic) namespace drops its state when it is removed with its last client.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use socketio::{ConnectionStateRecovery, Server, ServerConfig};
    ///
    /// let recovery = ConnectionStateRecovery::default().max_disconnection_duration(Duration::from_secs(60));
    /// let io = Server::with_config(ServerConfig::default().connection_state_recovery(recovery));
    /// ```
    ConnectionStateRecovery {
        /// The maximum duration of an interruption, and the time for which events are kept. 2 minutes by
        /// default. Node: `maxDisconnectionDuration`.
        max_disconnection_duration: Duration = Duration::from_mins(2),
        /// `true` if a client gets its socket back without a call of the
        /// [auth function](crate::Namespace::with_auth) of the namespace. `true` by default; otherwise the
        /// auth function may refuse the client, and the data is that of the old socket in any case. Node:
        /// `skipMiddlewares`.
        skip_middlewares: bool = true,
        /// The maximum size in bytes of the events that one namespace keeps. 64 MiB by default; beyond it,
        /// the oldest are dropped, and a client that missed them gets a new socket. Node has no limit.
        max_bytes: usize = 64 * 1024 * 1024,
        /// The maximum number of sockets that one namespace keeps for disconnected clients. 10,000 by
        /// default; beyond it, the one that disconnected first is dropped. Node has no limit.
        max_sessions: usize = 10_000,
        /// The maximum number of missed events per client. 512 by default; beyond it, the client gets a new
        /// socket. Node has no limit.
        max_missed_packets: usize = 512,
        /// The maximum size in bytes of the missed events per client, including the overhead of the queue. 1
        /// MiB by default, bounded by the free space of
        /// [`max_buffered`](field@crate::EngineConfig::max_buffered). Node has no limit.
        max_missed_bytes: usize = 1024 * 1024,
    }
}

impl ServerConfig {
    pub(crate) fn packet_limits(&self) -> PacketLimits {
        let &Self { max_attachments, max_namespace_length, .. } = self;
        PacketLimits { max_attachments, max_namespace_length }
    }
}
