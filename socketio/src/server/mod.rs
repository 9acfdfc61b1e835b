//! The public [`Server`]: namespaces under one path, served as a tower service or by its own accept loop.
//!
//! This module may import all layers from `connection` downwards. It must not import `testing` or
//! `typescript`.

pub(crate) mod application;
pub(crate) mod client_files;
pub(crate) mod inbound;
pub(crate) mod service;

use std::{convert::Infallible, fmt, future::Future, io, sync::Arc};

use bytes::Bytes;
use engineio::{BoxFuture, Connections, Engine, Limit, Listener, RequestBody, Shutdown};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tokio::{net::ToSocketAddrs, sync::watch};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    config::ServerConfig,
    event::{EventName, error::EmitError, handshake::Handshake},
    handles::{broadcast::BroadcastOperator, broadcast_ack::ServerAnswers, sockets::Sockets},
    hub::{
        Adapter,
        cluster::{Cluster, ServerId, memory::MemoryBus},
        rooms::Room,
    },
    namespace::Namespace,
    proto::{
        args::{FromArgs, ToArgs},
        json::MAX_DEPTH,
    },
    registry::{
        Namespaces,
        dynamic::{Dynamic, Pattern},
    },
    server::{application::SocketIoApplication, client_files::ClientFiles, inbound::Worker},
};

/// A Socket.IO server: a handle that is cheap to clone, a tower service and a tower layer.
///
/// # Examples
///
/// Standalone:
///
/// ```no_run
/// use socketio::{Namespace, Server};
///
/// # async fn run() -> std::io::Result<()> {
/// let echo = Namespace::new("/").on("echo", async |socket, text: String| socket.emit("echo", &text));
/// Server::new().namespace(echo).listen("127.0.0.1:3000").await
/// # }
/// ```
///
/// For TLS, or a Unix socket behind a proxy, see [`serve`](Self::serve).
///
/// In an axum application, with a clone that emits from elsewhere:
///
/// ```
/// use socketio::{Namespace, Server};
///
/// let io = Server::new().namespace(Namespace::new("/"));
/// let app: axum::Router = axum::Router::new()
///     .route_service("/socket.io/", io.clone())
///     .route("/announce", axum::routing::post(async move || {
///         io.emit("news", "Tea is ready.").map_err(|error| error.to_string())
///     }));
/// ```
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    engine: Engine<SocketIoApplication>,
}

struct Shared {
    connections: Connections,
    namespaces: Arc<Namespaces>,
    config: Arc<ServerConfig>,
    path: Box<str>,
    client_files: Option<ClientFiles>,
    cluster: Option<Arc<Cluster>>,
    /// Becomes `true` when the server closes.
    closed: watch::Sender<bool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.leave();
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// Creates a server with the default options.
    pub fn new() -> Self {
        Self::with_config(ServerConfig::default())
    }

    /// Creates a server.
    ///
    /// # Panics
    ///
    /// Panics if an interval, a timeout, a limit of the accept loop or a queue limit is zero, if no transport
    /// is enabled, if the path does not begin with a slash, or if the cookie is one that no browser accepts.
    #[track_caller]
    pub fn with_config(config: ServerConfig) -> Self {
        let config = Arc::new(config);
        Self::build(config.clone(), Arc::new(Namespaces::new(config)), None)
    }

    /// Creates a server that shares its namespaces and rooms with the other servers of this process on `bus`:
    /// broadcasts reach the sockets of all of them. The server leaves the bus when it is
    /// [closed](Self::close) or dropped.
    ///
    /// # Panics
    ///
    /// As [`with_config`](Self::with_config), and outside of a Tokio runtime: a spawned task receives the
    /// messages of the other servers.
    #[track_caller]
    pub fn with_bus(config: ServerConfig, bus: &MemoryBus) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let (id, backend, inbox) = bus.join();
        let config = Arc::new(config);
        let cluster = Arc::new(Cluster::new(id, backend, config.requests_timeout));
        let namespaces = Arc::new(Namespaces::new(config.clone()));
        let worker = Worker::new(cluster.clone(), Arc::clone(&namespaces), config.max_cluster_requests);
        let server = Self::build(config, namespaces, Some(cluster));
        runtime.spawn(worker.run(inbox));
        server
    }

    #[track_caller]
    fn build(config: Arc<ServerConfig>, namespaces: Arc<Namespaces>, cluster: Option<Arc<Cluster>>) -> Self {
        assert!(config.path.starts_with('/'), "the path of a server begins with a slash: `{}`", config.path);
        assert!(!config.connect_timeout.is_zero(), "connect_timeout must not be zero");
        assert!(config.max_waiting_bytes > 0, "max_waiting_bytes must not be zero");
        let depth = config.max_json_depth;
        assert!((1..=MAX_DEPTH).contains(&depth), "max_json_depth must be from 1 to {MAX_DEPTH}");
        let mut path = config.path.trim_end_matches('/').to_owned();
        if config.add_trailing_slash || path.is_empty() {
            path.push('/');
        }
        let client_files = (!config.serve_client.as_os_str().is_empty())
            .then(|| ClientFiles::new(&config.serve_client, config.engine.http_compression.is_some()));
        let sessions = SocketIoApplication { namespaces: namespaces.clone(), config: config.clone() };
        let engine = Engine::new(sessions, config.engine.clone());
        let closed = watch::Sender::new(false);
        // Requests of sessions may take as long as the shutdown of the sessions.
        let shutdown = config.engine.shutdown_spread.saturating_add(config.engine.shutdown_timeout);
        let drain_timeout = config.listen.drain_timeout.max(shutdown);
        let connections = Connections::new(config.listen.clone().drain_timeout(drain_timeout));
        let shared =
            Shared { connections, namespaces, config, path: path.into(), client_files, cluster, closed };
        Self { shared: Arc::new(shared), engine }
    }

    /// Adds a namespace. Node: `io.of(path)`.
    ///
    /// # Panics
    ///
    /// Panics if the path is already taken, or longer than
    /// [`max_namespace_length`](field@ServerConfig::max_namespace_length).
    #[track_caller]
    #[must_use]
    pub fn namespace<D: Send + Sync + 'static>(self, namespace: Namespace<D>) -> Self {
        let path = namespace.path().to_owned();
        let max = self.shared.config.max_namespace_length;
        assert!(path.len() <= max, "the path of a namespace has at most {max} bytes: `{path}`");
        let adapter = Adapter::new(&path, self.shared.config.clone(), self.shared.cluster.clone());
        let (_, host) = namespace.into_factory();
        let free = self.shared.namespaces.insert(host(adapter));
        assert!(free, "there is a namespace `{path}` already");
        self
    }

    /// Adds a dynamic namespace: its path is a pattern with parameters in braces, such as `/game-{id}`. A
    /// parameter matches one or more characters other than a slash; `{*rest}` at the end matches slashes too.
    /// Node: `io.of(/^\/game-.+$/)`.
    ///
    /// Each matching path is a child namespace with its own rooms and the handlers of `namespace`. It is
    /// created when the first client joins and removed when the last one leaves, unless
    /// [`cleanup_empty_child_namespaces`](field@ServerConfig::cleanup_empty_child_namespaces) is off; there
    /// are at most [`max_dynamic_namespaces`](field@ServerConfig::max_dynamic_namespaces). While it exists,
    /// [`of`](Self::of) finds it. [`Handshake::param`](crate::Handshake::param) returns the parameters.
    ///
    /// A static namespace takes precedence; of several matching patterns, the one that was added first.
    ///
    /// # Panics
    ///
    /// Panics if a brace is unbalanced, if a parameter name is empty or repeated, if it contains anything but
    /// letters, digits, `_` and `-`, if two parameters are adjacent, or if `{*rest}` is not at the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Namespace, Server};
    ///
    /// let io = Server::new().dynamic(
    ///     Namespace::new("/game-{id}").on("move", async |socket, to: String| socket.broadcast().emit("moved", &to)),
    /// );
    /// io.of("/game-7").emit("moved", "e4").unwrap_err(); // No client has joined.
    /// ```
    #[track_caller]
    #[must_use]
    pub fn dynamic<D: Send + Sync + 'static>(self, namespace: Namespace<D>) -> Self {
        let dynamic = self.host_dynamic(namespace);
        self.shared.namespaces.insert_dynamic(dynamic);
        self
    }

    /// As [`dynamic`](Self::dynamic), restricted to the paths that an async predicate accepts. The predicate
    /// is called for each client that connects, with the path and the handshake. Node:
    /// `io.of((name, auth, next) => ...)`.
    ///
    /// If it returns `false` or panics, the next dynamic namespace is tried; after the last one, the client
    /// is refused. While a path has clients, it belongs to the dynamic namespace that they joined.
    ///
    /// # Panics
    ///
    /// As [`dynamic`](Self::dynamic).
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Handshake, Namespace, Server};
    ///
    /// let tenants = Namespace::new("/{tenant}");
    /// let io = Server::new().dynamic_if(tenants, async |path: String, handshake: Handshake| {
    ///     // Look it up in a database, for example.
    ///     path != "/nobody" && handshake.auth_json().is_some()
    /// });
    /// ```
    #[track_caller]
    #[must_use]
    pub fn dynamic_if<D, F, Fut>(self, namespace: Namespace<D>, predicate: F) -> Self
    where
        D: Send + Sync + 'static,
        F: FnOnce(String, Handshake) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let dynamic = self.host_dynamic(namespace).only_if(predicate);
        self.shared.namespaces.insert_dynamic(dynamic);
        self
    }

    #[track_caller]
    fn host_dynamic<D: Send + Sync + 'static>(&self, namespace: Namespace<D>) -> Dynamic {
        let pattern = Pattern::new(namespace.path());
        let (config, cluster) = (self.shared.config.clone(), self.shared.cluster.clone());
        let (hooks, host) = namespace.into_factory();
        Dynamic::new(pattern, hooks, move |path| host(Adapter::new(path, config.clone(), cluster.clone())))
    }

    /// Returns the existing child namespaces of the [dynamic](Self::dynamic) namespaces with this pattern, to
    /// emit to all of them. Node: `emit` of the parent namespace.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{EmitError, Server};
    ///
    /// fn announce(io: &Server) -> Result<(), EmitError> {
    ///     io.children("/game-{id}").try_for_each(|game| game.emit("news", "Tea is ready."))
    /// }
    /// ```
    pub fn children(&self, pattern: &str) -> impl Iterator<Item = BroadcastOperator> + use<> {
        let children = self.shared.namespaces.children(pattern);
        children.into_iter().map(|adapter| BroadcastOperator::new(Some(adapter)))
    }

    /// Selects all sockets of a namespace. Node: `io.of(path)`.
    pub fn of(&self, path: &str) -> BroadcastOperator {
        BroadcastOperator::new(self.shared.namespaces.adapter(path))
    }

    /// Selects the sockets in a room of the namespace `/`. Node: `io.to(room)`.
    pub fn to(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.of("/").to(room)
    }

    /// Selects the sockets of the namespace `/` that are not in a room. Node: `io.except(room)`.
    pub fn except(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.of("/").except(room)
    }

    /// Selects the sockets of the namespace `/` on this server of a cluster. Node: `io.local`.
    pub fn local(&self) -> BroadcastOperator {
        self.of("/").local()
    }

    /// Selects all sockets of the namespace `/` for a volatile event: see [`BroadcastOperator::volatile`].
    /// Node: `io.volatile`.
    pub fn volatile(&self) -> BroadcastOperator {
        self.of("/").volatile()
    }

    /// Sends an event to all sockets of the namespace `/`. Node: `io.emit(event, ...)`.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::emit`].
    pub fn emit<T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        self.of("/").emit(event, args)
    }

    /// Sends an event to the namespace `/` on all other servers of the cluster. Node: `io.serverSideEmit(event, ...)`.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::server_side_emit`].
    pub fn server_side_emit<T: ToArgs + ?Sized>(
        &self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<(), EmitError> {
        self.of("/").server_side_emit(event, args)
    }

    /// As [`server_side_emit`](Self::server_side_emit), and waits for the acknowledgements. Node:
    /// `io.serverSideEmitWithAck(event, ...)`.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::server_side_emit_with_ack`].
    ///
    /// # Cancel safety
    ///
    /// As [`BroadcastOperator::server_side_emit_with_ack`].
    pub async fn server_side_emit_with_ack<A: FromArgs, T: ToArgs + ?Sized>(
        &self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<ServerAnswers<A>, EmitError> {
        self.of("/").server_side_emit_with_ack(event, args).await
    }

    /// Returns the number of servers in the cluster, including this one; 1 without a cluster. Node:
    /// `adapter.serverCount()`.
    pub fn server_count(&self) -> usize {
        self.shared.cluster.as_ref().map_or(1, |cluster| cluster.servers().len().max(1))
    }

    /// Returns the id of this server in its cluster, or `None` without a cluster.
    pub fn server_id(&self) -> Option<ServerId> {
        self.shared.cluster.as_ref().map(|cluster| cluster.id)
    }

    /// Returns the number of sessions. Node: `io.engine.clientsCount`.
    pub fn session_count(&self) -> usize {
        self.engine.session_count()
    }

    /// Returns how often clients have hit a limit of the engine since the start.
    pub fn limit_hits(&self, limit: Limit) -> u64 {
        self.engine.limit_hits(limit)
    }

    /// Returns the number of packets dropped on open connections because the client was too slow. Each
    /// recipient of a broadcast counts. Packets that are still queued when a connection closes do not count.
    pub fn dropped_packets(&self) -> u64 {
        self.engine.dropped_messages()
    }

    /// Returns the number of connection attempts to a namespace that were refused: by its
    /// [auth function](Namespace::with_auth), for an unknown namespace, or by a limit. Each of them is
    /// answered with `connect_error`.
    pub fn connect_errors(&self) -> u64 {
        self.shared.namespaces.connect_errors()
    }

    /// Returns the counters of the connections accepted by [`listen`](Self::listen) and
    /// [`serve`](Self::serve): open and refused ones.
    pub fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// Returns the number of sockets in a namespace; 0 if the namespace does not exist.
    pub fn socket_count(&self, path: &str) -> usize {
        self.shared.namespaces.adapter(path).map_or(0, |adapter| adapter.len())
    }

    /// Returns the sockets of a namespace on this server, with their [data](crate::Socket::data). `None` if
    /// the namespace does not exist, or if the data of its sockets is not of type `D`. Node:
    /// `io.of(path).sockets`.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::Server;
    ///
    /// struct User { name: String }
    ///
    /// fn names(io: &Server) -> Vec<String> {
    ///     let Some(sockets) = io.sockets::<User>("/chat") else { return Vec::new() };
    ///     sockets.all().iter().map(|socket| socket.data().name.clone()).collect()
    /// }
    /// ```
    pub fn sockets<D: Send + Sync + 'static>(&self, path: &str) -> Option<Sockets<D>> {
        self.shared.namespaces.typed_adapter::<D>(path).map(Sockets::new)
    }

    /// Accepts connections on an address until [`close`](Self::close). Responds to other paths with 404.
    ///
    /// # Errors
    ///
    /// Returns an error if the address cannot be bound.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops accepting; open connections continue.
    pub async fn listen(self, address: impl ToSocketAddrs) -> io::Result<()> {
        let listener = self.shared.connections.config().bind(address).await?;
        self.serve(listener).await
    }

    /// Accepts connections from a listener until [`close`](Self::close). Responds to other paths with 404.
    ///
    /// The listener is a [`TcpListener`](tokio::net::TcpListener), a `UnixListener`, either of them with TLS
    /// (`Tls`, with the cargo feature `tls`), or a custom [`Listener`].
    ///
    /// # Errors
    ///
    /// As [`engineio::serve`].
    ///
    /// # Cancel safety
    ///
    /// As [`listen`](Self::listen).
    ///
    /// # Examples
    ///
    #[cfg_attr(unix, doc = "```no_run")]
    #[cfg_attr(not(unix), doc = "```ignore")]
    /// # async fn run(io: socketio::Server) -> std::io::Result<()> {
    /// let listener = tokio::net::UnixListener::bind("/run/chat/socket")?;
    /// io.serve(listener).await
    /// # }
    /// ```
    pub async fn serve(self, listener: impl Listener) -> io::Result<()> {
        let closed = self.closed();
        let connections = self.shared.connections.clone();
        let (engine, shared) = (self.engine.clone(), self.shared.clone());
        engine.serve(listener, &shared.path, self, connections, closed).await
    }

    /// As [`serve`](Self::serve), with a fallback service for all other paths.
    ///
    /// # Errors
    ///
    /// As [`engineio::serve`].
    ///
    /// # Cancel safety
    ///
    /// As [`listen`](Self::listen).
    pub async fn serve_with<S, B>(self, listener: impl Listener, fallback: S) -> io::Result<()>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let closed = self.closed();
        let connections = self.shared.connections.clone();
        self.engine.serve(listener, &self.shared.path, self.layer(fallback), connections, closed).await
    }

    /// Returns `true` if [`close`](Self::close) was called: new sessions are refused with 503. A health check
    /// can report it, so that the load balancer routes clients remote.
    pub fn is_closing(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// Closes all connections with the reason "server shutting down", and stops [`listen`](Self::listen) and
    /// [`serve`](Self::serve). Returns when all their tasks have finished. Node: `io.close()`.
    ///
    /// No DISCONNECT packet is sent, so that clients reconnect, to another server if there is one. The closes
    /// are spread over [`shutdown_spread`](field@engineio::EngineConfig::shutdown_spread), zero by default.
    /// Handlers that still run [`shutdown_timeout`](field@engineio::EngineConfig::shutdown_timeout) after the
    /// last close, 10 seconds by default, are dropped.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// The shutdown continues if the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let io = socketio::Server::new();
    /// let shutdown = io.close().await;
    /// assert!(io.is_closing());
    /// assert_eq!((shutdown.sessions, shutdown.aborted), (0, 0));
    /// # }
    /// ```
    pub async fn close(&self) -> Shutdown {
        self.shared.closed.send_replace(true);
        if let Some(cluster) = &self.shared.cluster {
            cluster.leave();
        }
        self.engine.close().await
    }

    fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut closed = self.shared.closed.subscribe();
        async move {
            // The sender is dropped with the server, which also counts as closed.
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn config(&self) -> &ServerConfig {
        &self.shared.config
    }

    #[cfg(feature = "testing")]
    pub(crate) fn path(&self) -> &str {
        &self.shared.path
    }

    /// Returns `true` if the path of the request belongs to this server.
    pub(crate) fn matches<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        path == &*self.shared.path || self.client_file(path).is_some()
    }

    fn client_file(&self, path: &str) -> Option<(&ClientFiles, &'static str)> {
        let files = self.shared.client_files.as_ref()?;
        let name = path.strip_prefix(&*self.shared.path)?.trim_start_matches('/');
        Some((files, ClientFiles::file_name(name)?))
    }

    /// Responds to a request for which [`matches`](Self::matches) returned `true`.
    pub(crate) fn respond<B>(&self, request: Request<B>) -> BoxFuture<Response<Full<Bytes>>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let Some((_, name)) = self.client_file(request.uri().path()) else {
            return self.engine.handle(request);
        };
        let cors = &self.engine.config().cors;
        let (added, is_preflight) = (cors.headers(&request), cors.is_preflight(&request));
        let server = self.clone();
        let headers = request.into_parts().0.headers;
        Box::pin(async move {
            let mut response = match &server.shared.client_files {
                Some(files) if !is_preflight => files.respond(name, &headers).await,
                _ => status(StatusCode::NO_CONTENT),
            };
            response.headers_mut().extend(added);
            response
        })
    }
}

pub(crate) fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.shared.path).field("engine", &self.engine).finish()
    }
}
