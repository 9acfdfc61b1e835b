//! The options of the server, under the names of the Node.js server.

use std::{path::PathBuf, sync::Arc, time::Duration};

use engineio::{EngineConfig, ListenConfig};

use crate::proto::parser::Parser;

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
        /// The most acknowledgements that one socket may owe. 1,024 by default; beyond, an emit fails with
        /// [`EmitError::TooManyAcks`](crate::EmitError::TooManyAcks).
        max_pending_acks: usize = 1024,
        /// The most events of rooms that may wait for [`on_room`](crate::Namespace::on_room), in one namespace. 65,536
        /// by default; further ones are lost, and it is told how many.
        max_room_events: usize = 65_536,
        /// How long other servers of a cluster may take to answer a request such as
        /// [`fetch_sockets`](crate::BroadcastOperator::fetch_sockets). 5 seconds by default, as in Node:
        /// `requestsTimeout` of its adapters.
        requests_timeout: Duration = Duration::from_secs(5),
        /// The most namespaces of one connection. 16 by default; a client that asks for more is refused.
        max_namespaces: usize = 16,
        /// The most namespaces that the [dynamic](crate::Server::dynamic) ones may have made at a time. 10,000 by default;
        /// beyond, a client that would need another one is refused.
        max_dynamic_namespaces: usize = 10_000,
        /// Whether a namespace that a dynamic one has made ends when its last client has left. `true` by default. Node:
        /// `cleanupEmptyChildNamespaces`, which is off there.
        cleanup_empty_child_namespaces: bool = true,
        /// The most refused attempts to join a namespace of one connection. 32 by default; then it is closed.
        max_connect_attempts: usize = 32,
        /// The most events of one connection that may wait for their handlers, all its namespaces together. 64 by
        /// default; when so many wait, the connection stops reading.
        max_waiting_events: usize = 64,
        /// The bytes that they may have together. 65,536 by default; when so many wait, the connection stops reading.
        max_waiting_bytes: usize = 64 * 1024,
        /// The most rooms of one socket, beside that of its own id. 1,024 by default; beyond, a join fails with
        /// [`JoinError::TooManyRooms`](crate::JoinError::TooManyRooms).
        max_rooms: usize = 1024,
    }
}
