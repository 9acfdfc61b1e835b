//! The options of the server, under the names of the Node.js server.

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
        /// The options of the accept loop, for [`listen`](crate::Server::listen) and [`serve`](crate::Server::serve):
        /// how many connections there may be, and how long they may take.
        listen: ListenConfig = ListenConfig::default(),
        /// The path that clients connect to. `/socket.io` by default. Node: `path`.
        path: String = "/socket.io".to_owned(),
        /// Whether the path ends with a slash, as the official clients expect. `true` by default. Node:
        /// `addTrailingSlash`.
        add_trailing_slash: bool = true,
        /// The folder of the official client's bundles (`node_modules/socket.io-client/dist`), to serve them beside
        /// the path as `socket.io.js` and so on. Empty by default: none are served. Node: `serveClient`, which is on there
        /// because the bundles come with the server's own package.
        serve_client: PathBuf = PathBuf::new(),
        /// Another encoding of packets, such as `MsgpackParser` of the feature `msgpack`; all clients must use the same,
        /// while each server of a cluster may have its own. `None` by default: that of the protocol itself. Node: `parser`.
        parser: Option<Arc<dyn Parser>> = None,
        /// How long a client may stay without joining a namespace. 10 seconds by default; Node: `connectTimeout`, 45
        /// seconds.
        connect_timeout: Duration = Duration::from_secs(10),
        /// How long the handlers of a socket that has left may go on before
        /// [`on_disconnect`](crate::Namespace::on_disconnect) runs without waiting for them. 1 second by default. They
        /// are not cancelled then either.
        disconnect_grace: Duration = Duration::from_secs(1),
        /// How long [`emit_with_ack`](crate::Socket::emit_with_ack) waits unless told otherwise. 10 seconds by
        /// default; Node waits for ever.
        ack_timeout: Duration = Duration::from_secs(10),
        /// The most acknowledgements that one socket may owe. 16,384 by default; beyond, an emit fails with
        /// [`EmitError::TooManyAcks`](crate::EmitError::TooManyAcks). It also bounds the handlers of a socket that wait
        /// for an acknowledgement of its client, which [`max_in_flight`](crate::Namespace::max_in_flight) does not
        /// count. Node has no limit.
        max_pending_acks: usize = 16_384,
        /// The most events of rooms that may wait for [`on_room`](crate::Namespace::on_room), in one namespace. 65,536
        /// by default; further ones are lost, and it is told how many.
        max_room_events: usize = 65_536,
        /// How long other servers of a cluster may take to answer a request such as
        /// [`fetch_sockets`](crate::BroadcastOperator::fetch_sockets). 5 seconds by default, as in Node:
        /// `requestsTimeout` of its adapters.
        requests_timeout: Duration = Duration::from_secs(5),
        /// The most handlers of server events, and broadcasts whose acknowledgements are gathered here, that may run for
        /// other servers of a cluster at a time. 4,096 by default; beyond, such a request is not taken, and the server
        /// that asks finds this one missing. Node has no limit.
        max_cluster_requests: usize = 4096,
        /// The most namespaces of one connection. 64 by default; a client that asks for more is refused. Node has no
        /// limit.
        max_namespaces: usize = 64,
        /// The most namespaces that the [dynamic](crate::Server::dynamic) ones may have made at a time. 10,000 by default;
        /// beyond, a client that would need another one is refused.
        max_dynamic_namespaces: usize = 10_000,
        /// Whether a namespace that a dynamic one has made ends when its last client has left. `true` by default. Node:
        /// `cleanupEmptyChildNamespaces`, which is off there.
        cleanup_empty_child_namespaces: bool = true,
        /// The most refused attempts to join a namespace of one connection. 32 by default; then it is closed.
        max_connect_attempts: usize = 32,
        /// The bytes of the events of one connection that wait for their handlers, all its namespaces together, with a
        /// small overhead for each. 1 MiB by default; when as many wait, the connection stops reading until handlers
        /// return, and the client's system holds back what it sends. One event may always wait. Node has no limit.
        max_waiting_bytes: usize = 1024 * 1024,
        /// The most attachments of one packet of a client. 10 by default, as in Node: `maxAttachments` of its parser;
        /// beyond, the connection is closed. With another [`parser`](field@Self::parser), that has its own.
        max_attachments: usize = 10,
        /// The deepest nesting of arrays and objects in a packet of a client, the array of the packet among them. 128 by
        /// default, and no more than that; beyond, the connection is closed. Node has no limit.
        max_json_depth: usize = MAX_DEPTH,
        /// The longest name of a namespace, in bytes. 256 by default; beyond, the connection is closed. Node has no limit.
        max_namespace_length: usize = 256,
        /// The longest name of an event of a client, and of a room, in bytes. 4,096 by default; beyond, the event is
        /// answered with an error, or a join fails with [`JoinError::NameTooLong`](crate::JoinError::NameTooLong). Node
        /// has no limit.
        max_name_length: usize = 4096,
        /// The most rooms of one socket, beside that of its own id. 65,536 by default; beyond, a join fails with
        /// [`JoinError::TooManyRooms`](crate::JoinError::TooManyRooms). A room takes up to 32 bytes for each member, and
        /// its name while it has one; set less if clients choose the names. Node has no limit.
        max_rooms: usize = 65_536,
        /// Whether clients that lose their connection get back their socket with what they missed, and within which
        /// limits. `None` by default: a client that comes back is a new socket. Node: `connectionStateRecovery`.
        connection_state_recovery: Option<ConnectionStateRecovery> = None,
    }
}

engineio::__config! {
    /// Connection state recovery: a client that was gone for a short time gets back its socket, with its id, its
    /// [data](crate::Socket::data) and its rooms, and the events that it missed.
    ///
    /// What is needed for it stays in the memory of this server, for each namespace apart; a client that comes back to
    /// another server is a new socket. It is not certain: whenever it is in doubt that a client gets all that it missed,
    /// it becomes a new socket, and [`Socket::recovered`](crate::Socket::recovered) and `socket.recovered` of the client
    /// say so. A socket is not kept if it was disconnected by either side.
    ///
    /// Events carry their offset as one more argument behind all others, as with Node; acknowledged ones do not, and are
    /// not sent again. Volatile ones are not sent again either. Events of one namespace leave one after the other, so
    /// that all clients see their offsets grow.
    ///
    /// Clients of version 2 are always new sockets.
    ///
    /// What has expired is removed when something happens in its namespace: there is no timer for it. A
    /// [dynamic](crate::Server::dynamic) namespace forgets all of it when it ends, with its last client.
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
        /// How long a client may be gone, and how long events are kept. 2 minutes by default. Node:
        /// `maxDisconnectionDuration`.
        max_disconnection_duration: Duration = Duration::from_mins(2),
        /// Whether a client gets its socket back without asking the
        /// [admission](crate::Namespace::with_auth) of the namespace. `true` by default; otherwise the admission may
        /// refuse it, and its data is that of the socket all the same. Node: `skipMiddlewares`.
        skip_middlewares: bool = true,
        /// The bytes of the events that one namespace keeps. 64 MiB by default; beyond, the oldest are forgotten, and
        /// who needs them is a new socket. Node has no limit.
        max_bytes: usize = 64 * 1024 * 1024,
        /// The most sockets that one namespace keeps for clients that are gone. 10,000 by default; beyond, the one
        /// that is gone for the longest is forgotten. Node has no limit.
        max_sessions: usize = 10_000,
        /// The most events that one client may have missed. 512 by default; one that missed more is a new socket. Node
        /// has no limit.
        max_missed_packets: usize = 512,
        /// The bytes that they may have together, with what the queue adds to each. 1 MiB by default, and never more
        /// than [`max_buffered`](field@crate::EngineConfig::max_buffered) has room for. Node has no limit.
        max_missed_bytes: usize = 1024 * 1024,
    }
}

impl ServerConfig {
    pub(crate) fn packet_limits(&self) -> PacketLimits {
        let &Self { max_attachments, max_namespace_length, .. } = self;
        PacketLimits { max_attachments, max_namespace_length }
    }
}
