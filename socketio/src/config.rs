//! Defines the options of the server, which are named like the options of the Node.js server.
//!
//! This module defines the public option structs. Like `event`, it may import only `proto`; all layers above
//! may import this module.

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
        /// The options of the Engine.IO layer, such as heartbeat intervals, transports and size limits.
        engine: EngineConfig = EngineConfig::default(),
        /// The connection limits and timeouts of the accept loop that [`listen`](crate::Server::listen) and
        /// [`serve`](crate::Server::serve) run.
        listen: ListenConfig = ListenConfig::default(),
        /// The path that clients connect to. Defaults to `/socket.io`. Node.js calls this option `path`.
        path: String = "/socket.io".to_owned(),
        /// `true` if the path ends with a slash, as the official clients expect. Defaults to `true`. Node.js
        /// calls this option `addTrailingSlash`.
        add_trailing_slash: bool = true,
        /// The directory of the official client's bundles (`node_modules/socket.io-client/dist`), which are
        /// served under the path as `socket.io.js` and so on. Defaults to an empty path, which disables
        /// serving. Node.js calls this option `serveClient` and enables it by default, because its server
        /// package includes the bundles.
        serve_client: PathBuf = PathBuf::new(),
        /// A custom packet encoding, such as `MsgpackParser` of the feature `msgpack`. All clients of a
        /// server must use the same encoding; the servers of a cluster may use different encodings. Defaults
        /// to `None`, which selects the encoding of the protocol. Node.js calls this option `parser`.
        parser: Option<Arc<dyn Parser>> = None,
        /// The time within which a client must join a namespace. Defaults to 10 seconds. Node.js calls this
        /// option `connectTimeout`; its default is 45 seconds.
        connect_timeout: Duration = Duration::from_secs(10),
        /// The maximum time that [`on_disconnect`](crate::Namespace::on_disconnect) waits for running
        /// handlers of a disconnected socket. Defaults to 1 second. Handlers that run longer are not
        /// cancelled.
        disconnect_grace: Duration = Duration::from_secs(1),
        /// The default timeout of [`emit_with_ack`](crate::Socket::emit_with_ack). Defaults to 10 seconds.
        /// Node.js has no default timeout.
        ack_timeout: Duration = Duration::from_secs(10),
        /// The maximum number of pending acknowledgements per socket. Defaults to 16,384. When the limit is
        /// reached, an emit fails with [`EmitError::TooManyAcks`](crate::EmitError::TooManyAcks). Handlers
        /// that wait for an acknowledgement from their client do not count against
        /// [`max_in_flight`](crate::Namespace::max_in_flight); the total number of running handlers of a
        /// socket is bounded by the larger of both limits. Node.js has no limit.
        max_pending_acks: usize = 16_384,
        /// The maximum number of room events queued for [`on_room`](crate::Namespace::on_room), per
        /// namespace. Defaults to 65,536. Further events are dropped, and
        /// [`RoomEvent::Missed`](crate::RoomEvent::Missed) reports the number of dropped events.
        max_room_events: usize = 65_536,
        /// The timeout of requests to other servers of a cluster, such as
        /// [`fetch_sockets`](crate::BroadcastOperator::fetch_sockets). Defaults to 5 seconds, like
        /// `requestsTimeout` in the Node.js adapters.
        requests_timeout: Duration = Duration::from_secs(5),
        /// The maximum number of concurrent requests from other servers of a cluster. Running server event
        /// handlers and broadcasts whose acknowledgements this server collects are counted. Defaults to
        /// 4,096. Further requests are rejected, and the requesting server reports this server as missing.
        /// Node.js has no limit.
        max_cluster_requests: usize = 4096,
        /// The maximum number of queued messages from other servers of a cluster. Defaults to 8,192. While
        /// the queue is full, a [`MemoryBus`](crate::MemoryBus) refuses messages for this server, and a
        /// broker keeps them. Node.js has no such queue.
        max_cluster_messages: usize = 8192,
        /// The maximum number of namespaces per connection. Defaults to 64. Requests to join further
        /// namespaces are refused. Node.js has no limit.
        max_namespaces: usize = 64,
        /// The maximum number of child namespaces of [dynamic](crate::Server::dynamic) namespaces that exist
        /// at a time. Defaults to 10,000. When the limit is reached, a client whose path requires a new child
        /// namespace is refused.
        max_dynamic_namespaces: usize = 10_000,
        /// `true` if a child namespace is removed when its last client disconnects. Defaults to `true`.
        /// Node.js calls this option `cleanupEmptyChildNamespaces`; its default is `false`.
        cleanup_empty_child_namespaces: bool = true,
        /// The maximum number of refused attempts to join a namespace per connection. Defaults to 32. A
        /// connection that exceeds the limit is closed.
        max_connect_attempts: usize = 32,
        /// The maximum size in bytes of the queued events of one connection in all its namespaces, including
        /// a small overhead per event. Defaults to 1 MiB. When the limit is reached, the connection stops
        /// reading until handlers return, which applies backpressure to the client. A single event is always
        /// accepted. Node.js has no limit.
        max_waiting_bytes: usize = 1024 * 1024,
        /// The maximum number of attachments in a packet from a client. Defaults to 10, like `maxAttachments`
        /// in the Node.js parser. A client that exceeds the limit is disconnected. A custom
        /// [`parser`](Self::parser) has its own limit.
        max_attachments: usize = 10,
        /// The maximum nesting depth of arrays and objects in a packet from a client, including the array of
        /// the packet itself. Defaults to 128, which is the largest allowed value. A client that exceeds the
        /// limit is disconnected. Node.js has no limit.
        max_json_depth: usize = MAX_DEPTH,
        /// The maximum length of a namespace name, in bytes. Defaults to 256. A client that exceeds the limit
        /// is disconnected. Node.js has no limit.
        max_namespace_length: usize = 256,
        /// The maximum length of an event name from a client and of a room name, in bytes. Defaults to 4,096.
        /// An event with a longer name is acknowledged with an error; joining a room with a longer name fails
        /// with [`JoinError::NameTooLong`](crate::JoinError::NameTooLong). Node.js has no limit.
        max_name_length: usize = 4096,
        /// The maximum number of rooms per socket, in addition to the room of its own id. Defaults to 65,536.
        /// When the limit is reached, a join fails with
        /// [`JoinError::TooManyRooms`](crate::JoinError::TooManyRooms). A room uses up to 32 bytes per
        /// member, plus the room name; choose a lower limit if clients choose the names. Node.js has no
        /// limit.
        max_rooms: usize = 65_536,
        /// The options of connection state recovery, which restores the socket and the missed events of a
        /// client that reconnects. Defaults to `None`, in which case a client that reconnects gets a new
        /// socket. Node.js calls this option `connectionStateRecovery`.
        connection_state_recovery: Option<ConnectionStateRecovery> = None,
    }
}

engineio::__config! {
    /// The options of connection state recovery. A client that reconnects after a short interruption recovers
    /// the id, the [data](crate::Socket::data) and the rooms of its socket, and receives the events that it
    /// missed.
    ///
    /// The state is kept in the memory of this server, per namespace; a client that reconnects to another
    /// server gets a new socket. In a cluster whose broker has an event log, such as `Streams` of the crate
    /// `socketio-redis`, the broker keeps the state, and any server can recover the socket. Recovery is best
    /// effort: if the server cannot guarantee that a client receives all missed events, the client gets a new
    /// socket, and
    /// [`Socket::recovered`](crate::Socket::recovered) on the server and `socket.recovered` on the client are
    /// `false`. The state of a socket that either side disconnected explicitly is not kept.
    ///
    /// Events are sent with their offset as an additional last argument, as in Node.js. Events that request
    /// an acknowledgement have no offset and are not sent again after a reconnection; volatile events are not
    /// sent again either. Events of one namespace are queued one after the other, so all clients receive
    /// increasing offsets.
    ///
    /// Clients of version 2 of Socket.IO always get a new socket.
    ///
    /// There is no timer: expired state is removed by the next activity in its namespace. The state of a
    /// child of a [dynamic](crate::Server::dynamic) namespace is dropped when the child namespace is removed.
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
        /// The maximum duration of an interruption, and the time for which events are kept. Defaults to 2
        /// minutes. Node.js calls this option `maxDisconnectionDuration`.
        max_disconnection_duration: Duration = Duration::from_mins(2),
        /// `true` if a client recovers its socket without a call of the [auth
        /// function](crate::Namespace::with_auth) of the namespace. If `false`, the auth function may refuse
        /// the client; the recovered socket keeps the data of the old socket in any case. Defaults to `true`.
        /// Node.js calls this option `skipMiddlewares`.
        skip_middlewares: bool = true,
        /// The maximum size in bytes of the events that one namespace keeps. Defaults to 64 MiB. When the
        /// limit is exceeded, the oldest events are dropped, and a client that missed a dropped event gets a
        /// new socket. Node.js has no limit.
        max_bytes: usize = 64 * 1024 * 1024,
        /// The maximum number of sockets that one namespace keeps for disconnected clients. Defaults to
        /// 10,000. When the limit is exceeded, the socket that was disconnected first is dropped. Node.js has
        /// no limit.
        max_sessions: usize = 10_000,
        /// The maximum number of missed events per client. Defaults to 512. A client that missed more events
        /// gets a new socket. Node.js has no limit.
        max_missed_packets: usize = 512,
        /// The maximum size in bytes of the missed events per client, including the overhead of the queue.
        /// Defaults to 1 MiB. The free space of [`max_buffered`](crate::EngineConfig::max_buffered) is
        /// an additional bound. A client that missed more bytes gets a new socket. Node.js has no limit.
        max_missed_bytes: usize = 1024 * 1024,
    }
}

/// The options of the layers below. Other options have no getter: who sets a value knows it.
impl ServerConfig {
    /// Returns the value of [`engine`](Self::engine).
    pub fn get_engine(&self) -> &EngineConfig {
        &self.engine
    }

    /// Returns the value of [`listen`](Self::listen).
    pub fn get_listen(&self) -> &ListenConfig {
        &self.listen
    }

    pub(crate) fn packet_limits(&self) -> PacketLimits {
        let &Self { max_attachments, max_namespace_length, .. } = self;
        PacketLimits { max_attachments, max_namespace_length }
    }
}
