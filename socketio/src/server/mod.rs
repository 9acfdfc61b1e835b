//! Defines the public [`Server`], which serves namespaces under one path as a tower service or with its own
//! accept loop.
//!
//! This module may import all layers from `connection` downwards. It must not import `testing` or
//! `typescript`.

pub(crate) mod application;
pub(crate) mod client_files;
pub(crate) mod health;
pub(crate) mod inbound;
mod inspect;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod sessions;

use std::{fmt, future::Future, io, sync::Arc};

use engineio::{BoxFuture, Connections, Engine, EngineConfig, Limit, Listener, Shutdown};
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::{net::ToSocketAddrs, sync::watch};

use crate::{
    config::ServerConfig,
    event::{EventName, error::EmitError, handshake::Handshake},
    handles::{broadcast::BroadcastOperator, broadcast_ack::ServerAnswers, sockets::Sockets},
    hub::{
        Adapter,
        cluster::{Broker, Cluster, ClusterStatus, Inbox, ServerId, Unavailable},
        event_log::EventLog,
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
    server::{
        application::SocketIoApplication, client_files::ClientFiles, inbound::Worker, serve::Serve,
        sessions::refresh_sessions,
    },
};

/// A Socket.IO server, which is a handle, a service and a layer:
///
/// - **A handle:** clones are cheap, and refer to the same server. Any clone sends events, counts clients and closes
///   the server.
/// - **A tower service:** it responds to the requests for its [path](ServerConfig::path), and to all others with
///   status 404. Mount it in a router, or serve it with [`listen`](Self::listen) or [`serve`](Self::serve).
/// - **A tower layer:** it responds to the requests for its path, and passes all others to the inner service.
///
/// # Examples
///
/// Running a standalone server:
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
/// To use TLS, or a Unix socket behind a proxy, see [`serve`](Self::serve).
///
/// Using the server as a service in an axum application, with a clone of the handle that emits from another route:
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
///
/// Using the server as a layer:
///
/// ```
/// use socketio::{Namespace, Server};
///
/// let io = Server::new().namespace(Namespace::new("/"));
/// let app: axum::Router = axum::Router::new().route("/", axum::routing::get(async || "hello")).layer(io);
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
    /// Set to `true` when the server is closed.
    closed: watch::Sender<bool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            drop(cluster.leave());
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

    /// Creates a server with the given options.
    ///
    /// # Panics
    ///
    /// Panics if an interval, a timeout, a limit of the accept loop or a queue limit is zero, if
    /// [`max_json_depth`](ServerConfig::max_json_depth) is zero or greater than 128, if no transport is
    /// enabled, if the path does not begin with a slash, or if the options of the cookie are such that
    /// browsers reject the cookie.
    #[track_caller]
    pub fn with_config(config: ServerConfig) -> Self {
        let config = Arc::new(config);
        Self::build(config.clone(), Arc::new(Namespaces::new(config)), None)
    }

    /// Creates a server that shares its namespaces and rooms with the other servers of a cluster, which are
    /// connected by a broker. Broadcasts reach the sockets of all servers. The server leaves the cluster when
    /// it is [closed](Self::close) or dropped. Equivalent to the option `adapter` in Node.js.
    ///
    /// The broker is a [`MemoryBus`](crate::MemoryBus) for servers of one process, or comes from a crate such
    /// as `socketio-redis`. The server does not wait for the broker: it serves its own clients at once.
    ///
    /// # Panics
    ///
    /// Panics under the same conditions as [`with_config`](Self::with_config). Panics if called outside of a
    /// Tokio runtime, because the messages of the other servers are received by a spawned task.
    #[track_caller]
    pub fn with_cluster(config: ServerConfig, broker: impl Broker) -> Self {
        let runtime = tokio::runtime::Handle::current();
        assert!(config.max_cluster_messages > 0, "max_cluster_messages must not be zero");
        let config = Arc::new(config);
        let namespaces = Arc::new(Namespaces::new(config.clone()));
        let (inbox, inbound) = Inbox::new(
            config.max_cluster_messages,
            config.connection_state_recovery.is_some(),
            has_room(&namespaces),
            inbound::deliver(&namespaces),
        );
        let id = inbox.server_id().clone();
        let cluster = Arc::new(Cluster::new(id, broker.connect(inbox), config.requests_timeout));
        #[cfg(feature = "metrics")]
        runtime.spawn(crate::hub::cluster::sampling::sample(Arc::downgrade(&cluster)));
        let worker = Worker::new(cluster.clone(), Arc::clone(&namespaces), config.max_cluster_requests);
        if let (Some(limits), Some(_)) = (&config.connection_state_recovery, cluster.backend().recovery()) {
            let refresh_interval = EventLog::refresh_interval(limits);
            runtime.spawn(refresh_sessions(cluster.clone(), namespaces.clone(), refresh_interval));
        }
        let server = Self::build(config, namespaces, Some(cluster));
        runtime.spawn(worker.run(inbound));
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
            .then(|| ClientFiles::new(&config.serve_client, compresses(&config.engine)));
        let sessions = SocketIoApplication { namespaces: namespaces.clone(), config: config.clone() };
        let engine = Engine::new(sessions, config.engine.clone());
        let closed = watch::Sender::new(false);
        // Requests of sessions may remain open until the sessions are shut down.
        let shutdown =
            config.engine.get_shutdown_spread().saturating_add(config.engine.get_shutdown_timeout());
        let drain_timeout = config.listen.get_drain_timeout().max(shutdown);
        let connections = Connections::new(config.listen.clone().drain_timeout(drain_timeout));
        let shared =
            Shared { connections, namespaces, config, path: path.into(), client_files, cluster, closed };
        Self { shared: Arc::new(shared), engine }
    }

    /// Adds a namespace. Equivalent to `io.of(path)` in Node.js.
    ///
    /// # Panics
    ///
    /// Panics if the server already has a namespace with this path, or if the path is longer than
    /// [`max_namespace_length`](ServerConfig::max_namespace_length).
    #[track_caller]
    #[must_use]
    pub fn namespace<D: Send + Sync + 'static>(self, namespace: Namespace<D>) -> Self {
        let path = namespace.path().to_owned();
        let max = self.shared.config.max_namespace_length;
        assert!(path.len() <= max, "the path of a namespace has at most {max} bytes: `{path}`");
        let adapter = self.adapter_factory()(&path);
        let (_, host) = namespace.into_factory();
        let free = self.shared.namespaces.insert(host(adapter));
        assert!(free, "there is a namespace `{path}` already");
        self
    }

    /// Adds a dynamic namespace, whose path is a pattern with parameters in braces, such as `/game-{id}`. A
    /// parameter matches one or more characters other than a slash; a parameter `{*rest}` at the end of the
    /// pattern can also match slashes. Equivalent to `io.of(/^\/game-.+$/)` in Node.js.
    ///
    /// Each matching path is a child namespace with its own rooms and the handlers of `namespace`. A child
    /// namespace is created when the first client joins. It is removed when the last client leaves, unless
    /// [`cleanup_empty_child_namespaces`](ServerConfig::cleanup_empty_child_namespaces) is `false`. At
    /// most [`max_dynamic_namespaces`](ServerConfig::max_dynamic_namespaces) child namespaces exist at
    /// a time. [`of`](Self::of) selects the sockets of an existing child namespace, and
    /// [`Handshake::param`](crate::Handshake::param) returns the value of a parameter.
    ///
    /// If a path also belongs to a static namespace, the static namespace is used. If several patterns match
    /// a path, the pattern that was added first is used.
    ///
    /// # Panics
    ///
    /// Panics if a brace is unbalanced, if a parameter name is empty or repeated, if a parameter name
    /// contains anything except letters, digits, `_` and `-`, if two parameters are adjacent, or if `{*rest}`
    /// is not at the end.
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

    /// Like [`dynamic`](Self::dynamic), but restricted to the paths that an async predicate accepts. The
    /// predicate is called with the path and the handshake of each client that connects. Equivalent to
    /// `io.of((name, auth, next) => ...)` in Node.js.
    ///
    /// If the predicate returns `false` or panics, the next matching dynamic namespace is tried. If no
    /// dynamic namespace accepts the path, the client is refused. While a path has clients, further clients
    /// with the same path can join only the dynamic namespace of these clients.
    ///
    /// # Panics
    ///
    /// Panics under the same conditions as [`dynamic`](Self::dynamic).
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
        let create = self.adapter_factory();
        let (hooks, host) = namespace.into_factory();
        Dynamic::new(pattern, hooks, move |path| host(create(path)))
    }

    fn adapter_factory(&self) -> impl Fn(&str) -> Adapter + use<> {
        let (config, cluster) = (self.shared.config.clone(), self.shared.cluster.clone());
        let observation = self.shared.namespaces.observation.clone();
        move |path| Adapter::new(path, config.clone(), cluster.clone(), observation.clone())
    }

    /// Returns the existing child namespaces of the [dynamic](Self::dynamic) namespaces with this pattern.
    /// Emitting to each of them is equivalent to `emit` of the parent namespace in Node.js.
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

    /// Selects all sockets of a namespace. Equivalent to `io.of(path)` in Node.js.
    pub fn of(&self, path: &str) -> BroadcastOperator {
        BroadcastOperator::new(self.shared.namespaces.adapter(path))
    }

    /// Selects the sockets in a room of the namespace `/`. Equivalent to `io.to(room)` in Node.js.
    pub fn to(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.of("/").to(room)
    }

    /// Selects the sockets of the namespace `/` that are not in a room. Equivalent to `io.except(room)` in
    /// Node.js.
    pub fn except(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.of("/").except(room)
    }

    /// Selects the sockets of the namespace `/` on this server only. Equivalent to `io.local` in Node.js.
    pub fn local(&self) -> BroadcastOperator {
        self.of("/").local()
    }

    /// Selects all sockets of the namespace `/` for a volatile event. See [`BroadcastOperator::volatile`].
    /// Equivalent to `io.volatile` in Node.js.
    pub fn volatile(&self) -> BroadcastOperator {
        self.of("/").volatile()
    }

    /// Sends an event to all sockets of the namespace `/`. Equivalent to `io.emit(event, ...)` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`BroadcastOperator::emit`].
    pub fn emit<T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        self.of("/").emit(event, args)
    }

    /// Sends an event to the namespace `/` on all other servers of the cluster. Equivalent to
    /// `io.serverSideEmit(event, ...)` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`BroadcastOperator::server_side_emit`].
    pub fn server_side_emit<T: ToArgs + ?Sized>(
        &self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<(), EmitError> {
        self.of("/").server_side_emit(event, args)
    }

    /// Sends an event like [`server_side_emit`](Self::server_side_emit), and waits for the acknowledgements.
    /// Equivalent to `io.serverSideEmitWithAck(event, ...)` in Node.js.
    ///
    /// # Errors
    ///
    /// See [`BroadcastOperator::server_side_emit_with_ack`].
    ///
    /// # Cancel safety
    ///
    /// See [`BroadcastOperator::server_side_emit_with_ack`].
    pub async fn server_side_emit_with_ack<A: FromArgs, T: ToArgs + ?Sized>(
        &self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<ServerAnswers<A>, EmitError> {
        self.of("/").server_side_emit_with_ack(event, args).await
    }

    /// Returns the number of servers in the cluster that have the namespace `/`, including this server, or 1
    /// if there is no cluster. Equivalent to `adapter.serverCount()` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns an error if the broker is not connected.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is changed.
    pub async fn server_count(&self) -> Result<usize, Unavailable> {
        self.of("/").server_count().await
    }

    /// Waits until the broker of the cluster is connected and the server receives the messages of all its
    /// namespaces. Without a cluster, returns immediately. A readiness check can wait for this.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is changed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn start(io: socketio::Server) {
    /// use std::time::Duration;
    ///
    /// // Serve local clients even if the broker is away.
    /// if tokio::time::timeout(Duration::from_secs(3), io.cluster_connected()).await.is_err() {
    ///     eprintln!("the broker is away: {:?}", io.cluster_status());
    /// }
    /// # }
    /// ```
    pub async fn cluster_connected(&self) {
        if let Some(cluster) = &self.shared.cluster {
            cluster.backend().connected().await;
        }
    }

    /// Returns the state of the connection to the broker, or `None` if there is no cluster.
    pub fn cluster_status(&self) -> Option<ClusterStatus> {
        self.shared.cluster.as_ref().map(|cluster| cluster.backend().status())
    }

    /// Returns the id of this server in its cluster, or `None` if there is no cluster.
    pub fn server_id(&self) -> Option<&ServerId> {
        self.shared.cluster.as_ref().map(|cluster| &cluster.id)
    }

    /// Returns the number of open Engine.IO sessions. Equivalent to `io.engine.clientsCount` in Node.js.
    pub fn session_count(&self) -> usize {
        self.engine.session_count()
    }

    /// Returns how often clients have hit a limit of the engine since the server was created.
    pub fn limit_hits(&self, limit: Limit) -> u64 {
        self.engine.limit_hits(limit)
    }

    /// Returns the number of packets dropped on open connections because the client was too slow. A broadcast
    /// is counted once per recipient. Packets that are still queued when a connection is closed are not
    /// counted.
    pub fn dropped_packets(&self) -> u64 {
        self.engine.dropped_messages()
    }

    /// Returns the number of refused requests to join a namespace. A request is refused by the [auth
    /// function](Namespace::with_auth) of the namespace, because the namespace is unknown, or because of a
    /// limit. The client receives a `connect_error` for each refused request.
    pub fn connect_errors(&self) -> u64 {
        self.shared.namespaces.connect_errors()
    }

    /// Returns the counters of open and refused connections of [`listen`](Self::listen) and
    /// [`serve`](Self::serve).
    pub fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// Returns the number of sockets of a namespace on this server, or 0 if the namespace does not exist.
    pub fn socket_count(&self, path: &str) -> usize {
        self.shared.namespaces.adapter(path).map_or(0, |adapter| adapter.len())
    }

    /// Returns the sockets of a namespace on this server, with their [data](crate::Socket::data). Returns
    /// `None` if the namespace does not exist, or if the data of its sockets is not of type `D`. Equivalent
    /// to `io.of(path).sockets` in Node.js.
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

    /// Accepts connections on an address until [`close`](Self::close) is called. Responds with 404 to
    /// requests for paths that the server does not serve.
    ///
    /// # Errors
    ///
    /// Returns an error if the address cannot be bound.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no further connections are accepted; open connections are not closed.
    pub async fn listen(self, address: impl ToSocketAddrs) -> io::Result<()> {
        let listener = self.shared.connections.config().bind(address).await?;
        self.serve(listener).await
    }

    /// Accepts connections from a listener until [`close`](Self::close) is called. Responds with 404 to
    /// requests for paths that the server does not serve, unless it has a [fallback](Serve::with_fallback).
    ///
    /// The listener is a [`TcpListener`](tokio::net::TcpListener), a `UnixListener`, a `TlsListener` over
    /// either of them (cargo feature `tls`), or a custom [`Listener`].
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
    pub fn serve<L: Listener>(self, listener: L) -> Serve<L> {
        Serve::new(self, listener)
    }

    /// Refuses new sessions with status 503 from now on. Open sessions continue. Call this before
    /// [`close`](Self::close) to give a load balancer the time to send new clients to other servers. Node.js has no
    /// such method.
    pub fn drain(&self) {
        self.engine.drain();
    }

    /// Returns `true` if [`drain`](Self::drain) or [`close`](Self::close) was called. New sessions are then refused
    /// with 503. [`health`](Self::health) reports this state, so that a load balancer routes new clients to other servers.
    pub fn is_closing(&self) -> bool {
        self.engine.is_closing()
    }

    /// Closes all sessions with the reason "server shutting down", and stops [`listen`](Self::listen) and
    /// [`serve`](Self::serve). Returns when the tasks of all sessions have finished. Equivalent to
    /// `io.close()` in Node.js.
    ///
    /// No DISCONNECT packet is sent, so clients reconnect, possibly to another server. Sessions are closed at
    /// intervals over the duration [`shutdown_spread`](engineio::EngineConfig::shutdown_spread), which
    /// is zero by default. Handlers that are still running
    /// [`shutdown_timeout`](engineio::EngineConfig::shutdown_timeout) after the last session was
    /// closed, 10 seconds by default, are dropped.
    ///
    /// # Panics
    ///
    /// Panics if called outside of a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown continues.
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
        self.engine.drain();
        self.shared.closed.send_replace(true);
        let shutdown = self.engine.close().await;
        // Until now, the sockets have received the broadcasts of other servers.
        if let Some(cluster) = &self.shared.cluster {
            cluster.leave().await;
        }
        shutdown
    }

    fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut closed = self.shared.closed.subscribe();
        async move {
            // An error means that the server was dropped, which also counts as closed.
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn config(&self) -> &ServerConfig {
        &self.shared.config
    }

    #[cfg(feature = "testing")]
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.shared.cluster.as_deref()
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

    /// Responds to a request, for which [`matches`](Self::matches) must have returned `true`.
    pub(crate) fn respond<B>(&self, request: Request<B>) -> BoxFuture<Response<engineio::ResponseBody>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let Some((_, name)) = self.client_file(request.uri().path()) else {
            return self.engine.handle(request);
        };
        let cors = self.engine.config().get_cors();
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

/// Returns `true` if responses are compressed.
#[cfg(feature = "compression")]
fn compresses(config: &EngineConfig) -> bool {
    config.get_http_compression().is_some()
}

#[cfg(not(feature = "compression"))]
const fn compresses(_: &EngineConfig) -> bool {
    false
}

/// Tells a broker whether a room has sockets on this server.
fn has_room(namespaces: &Arc<Namespaces>) -> impl Fn(&str, &str) -> bool + Send + Sync + 'static {
    let namespaces = Arc::downgrade(namespaces);
    move |path, room| {
        let adapter = namespaces.upgrade().and_then(|namespaces| namespaces.adapter(path));
        adapter.is_some_and(|adapter| adapter.receives(room))
    }
}

pub(crate) fn status(status: StatusCode) -> Response<engineio::ResponseBody> {
    let mut response = Response::new(engineio::ResponseBody::default());
    *response.status_mut() = status;
    response
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.shared.path).field("engine", &self.engine).finish()
    }
}
