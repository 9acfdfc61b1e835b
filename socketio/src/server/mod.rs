//! The server: namespaces under one path, as a tower service and with an accept loop of its own.

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
    server::{application::Sessions, client_files::ClientFiles, inbound::Worker},
};

/// A Socket.IO server: a cheap handle, a tower service, and a layer around another service.
///
/// # Examples
///
/// Alone:
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
/// Over TLS, or over a Unix socket behind a proxy, see [`serve`](Self::serve).
///
/// In an axum application, with a clone to emit from elsewhere:
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
    engine: Engine<Sessions>,
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
    /// Makes a server with the default options.
    pub fn new() -> Self {
        Self::with_config(ServerConfig::default())
    }

    /// Makes a server.
    ///
    /// # Panics
    ///
    /// Panics if an interval, a timeout, a limit of the accept loop or what may wait is zero, if no transport is named, if
    /// the path does not begin with a slash, or
    /// if the cookie is one that no browser takes.
    #[track_caller]
    pub fn with_config(config: ServerConfig) -> Self {
        let config = Arc::new(config);
        Self::build(config.clone(), Arc::new(Namespaces::new(config)), None)
    }

    /// Makes a server that is one of several in this process: what is for all sockets of a namespace or a room is for
    /// those of all servers on the bus. It leaves the bus when it is [closed](Self::close) or dropped.
    ///
    /// # Panics
    ///
    /// As [`with_config`](Self::with_config), and outside of a Tokio runtime: a task receives what others send.
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
        let sessions = Sessions { namespaces: namespaces.clone(), config: config.clone() };
        let engine = Engine::new(sessions, config.engine.clone());
        let closed = watch::Sender::new(false);
        // Requests of sessions may go on as long as the sessions.
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
    /// Panics if there is one of the same path, or if that is longer than
    /// [`max_namespace_length`](field@ServerConfig::max_namespace_length).
    #[track_caller]
    #[must_use]
    pub fn namespace<D: Send + Sync + 'static>(self, namespace: Namespace<D>) -> Self {
        let path = namespace.path().to_owned();
        let max = self.shared.config.max_namespace_length;
        assert!(path.len() <= max, "the path of a namespace has at most {max} bytes: `{path}`");
        let adapter = Adapter::new(&path, self.shared.config.clone(), self.shared.cluster.clone());
        let (_, host) = namespace.into_host();
        let free = self.shared.namespaces.insert(host(adapter));
        assert!(free, "there is a namespace `{path}` already");
        self
    }

    /// Adds a namespace of many paths: its own path is a pattern with parameters in braces, such as `/game-{id}`. A
    /// parameter is one character or more, none of them a slash; `{*rest}` at the end may have slashes too. Node:
    /// `io.of(/^\/game-.+$/)`.
    ///
    /// Each path is a namespace of its own, with its own rooms and the handlers of this one. It is made when the first
    /// client joins it, and ends when the last has left, unless
    /// [`cleanup_empty_child_namespaces`](field@ServerConfig::cleanup_empty_child_namespaces) is off; there are at most
    /// [`max_dynamic_namespaces`](field@ServerConfig::max_dynamic_namespaces). While it lives, [`of`](Self::of) finds
    /// it. Admissions read the parameters with [`Handshake::param`](crate::Handshake::param).
    ///
    /// Namespaces of one path go first; of several patterns that match, the one that was added first.
    ///
    /// # Panics
    ///
    /// Panics if a brace stands alone, if a parameter has no name or that of another, if its name holds anything but
    /// letters, digits, `_` and `-`, if nothing stands between two parameters, or if anything stands behind `{*rest}`.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Namespace, Server};
    ///
    /// let io = Server::new().dynamic(
    ///     Namespace::new("/game-{id}").on("move", async |socket, to: String| socket.broadcast().emit("moved", &to)),
    /// );
    /// io.of("/game-7").emit("moved", "e4").unwrap_err(); // Nobody plays there.
    /// ```
    #[track_caller]
    #[must_use]
    pub fn dynamic<D: Send + Sync + 'static>(self, namespace: Namespace<D>) -> Self {
        let dynamic = self.host_dynamic(namespace);
        self.shared.namespaces.insert_dynamic(dynamic);
        self
    }

    /// As [`dynamic`](Self::dynamic), for the paths of the pattern that an async function accepts. It is asked for each
    /// client that comes, and gets the path and what the client brought. Node: `io.of((name, auth, next) => ...)`.
    ///
    /// If it says no, or panics, the next dynamic namespace is asked, and the client is refused after the last. While a
    /// path has clients, it belongs to the dynamic namespace that they are in.
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
    ///     // A look into the database, for example.
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
        let (hooks, host) = namespace.into_host();
        Dynamic::new(pattern, hooks, move |path| host(Adapter::new(path, config.clone(), cluster.clone())))
    }

    /// The namespaces that the [dynamic](Self::dynamic) ones of a pattern have made and that live now, to emit to all
    /// of them. Node: `emit` of the parent namespace.
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

    /// All sockets of a namespace, to emit to. Node: `io.of(path)`.
    pub fn of(&self, path: &str) -> BroadcastOperator {
        BroadcastOperator::new(self.shared.namespaces.adapter(path))
    }

    /// The sockets in a room of the namespace `/`. Node: `io.to(room)`.
    pub fn to(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.of("/").to(room)
    }

    /// The sockets of the namespace `/` that are not in a room. Node: `io.except(room)`.
    pub fn except(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.of("/").except(room)
    }

    /// The sockets of the namespace `/` on this server, in a cluster. Node: `io.local`.
    pub fn local(&self) -> BroadcastOperator {
        self.of("/").local()
    }

    /// All sockets of the namespace `/`, for an event that may be lost: see [`BroadcastOperator::volatile`]. Node:
    /// `io.volatile`.
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

    /// As [`server_side_emit`](Self::server_side_emit), and waits for the answers. Node:
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

    /// The number of servers in the cluster, this one among them; 1 without a cluster. Node: `adapter.serverCount()`.
    pub fn server_count(&self) -> usize {
        self.shared.cluster.as_ref().map_or(1, |cluster| cluster.servers().len().max(1))
    }

    /// This server's name in its cluster, if it is in one.
    pub fn server_id(&self) -> Option<ServerId> {
        self.shared.cluster.as_ref().map(|cluster| cluster.id)
    }

    /// The number of sessions. Node: `io.engine.clientsCount`.
    pub fn session_count(&self) -> usize {
        self.engine.session_count()
    }

    /// How often clients have hit a limit of the engine since the start.
    pub fn limit_hits(&self, limit: Limit) -> u64 {
        self.engine.limit_hits(limit)
    }

    /// The number of packets that were given up because a client did not take them, while its connection went on.
    /// Each recipient of a broadcast counts. What still waits at the end of a connection does not.
    pub fn dropped_packets(&self) -> u64 {
        self.engine.dropped_messages()
    }

    /// How many requests of clients to join a namespace were refused: by its [admission](Namespace::with_auth), because
    /// there is no such namespace, or by a limit. Each of them gets `connect_error`.
    pub fn connect_errors(&self) -> u64 {
        self.shared.namespaces.connect_errors()
    }

    /// The connections that [`listen`](Self::listen) and [`serve`](Self::serve) have accepted: how many are open, and how
    /// many were refused.
    pub fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// The number of sockets in a namespace; none if there is no such namespace.
    pub fn socket_count(&self, path: &str) -> usize {
        self.shared.namespaces.adapter(path).map_or(0, |adapter| adapter.len())
    }

    /// The sockets of a namespace on this server, with their [data](crate::Socket::data). `None` if there is no such
    /// namespace, or if the data of its sockets is not of type `D`. Node: `io.of(path).sockets`.
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
        self.shared.namespaces.adapter_of::<D>(path).map(Sockets::new)
    }

    /// Accepts connections on an address until [`close`](Self::close). Other paths are answered with 404.
    ///
    /// # Errors
    ///
    /// Returns an error if the address cannot be bound.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops accepting; connections that are open go on.
    pub async fn listen(self, address: impl ToSocketAddrs) -> io::Result<()> {
        let listener = self.shared.connections.config().bind(address).await?;
        self.serve(listener).await
    }

    /// Accepts connections from a listener until [`close`](Self::close). Other paths are answered with 404.
    ///
    /// A [`TcpListener`](tokio::net::TcpListener) will do, a `UnixListener`, either with TLS in front (`Tls`, with the
    /// cargo feature `tls`), or a [`Listener`] of your own.
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

    /// As [`serve`](Self::serve), with another service for all other paths.
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

    /// Whether [`close`](Self::close) was called: new sessions are refused, with 503. Let a health check say so, for the
    /// load balancer to send clients elsewhere.
    pub fn is_closing(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// Ends all connections with the reason "server shutting down", and stops [`listen`](Self::listen) and
    /// [`serve`](Self::serve). Returns when nothing runs for them any more. Node: `io.close()`.
    ///
    /// No DISCONNECT packet is sent, so that clients reconnect, to another server if there is one. They are told over
    /// [`shutdown_spread`](field@engineio::EngineConfig::shutdown_spread), zero by default. Handlers that still run
    /// [`shutdown_timeout`](field@engineio::EngineConfig::shutdown_timeout) after the last was told, 10 seconds by
    /// default, are dropped.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// The end goes on if the future is dropped.
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
            // The sender lives as long as the server, whose end is an end too.
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

    /// Whether a request is for this server.
    pub(crate) fn matches<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        path == &*self.shared.path || self.client_file(path).is_some()
    }

    fn client_file(&self, path: &str) -> Option<(&ClientFiles, &'static str)> {
        let files = self.shared.client_files.as_ref()?;
        let name = path.strip_prefix(&*self.shared.path)?.trim_start_matches('/');
        Some((files, ClientFiles::known(name)?))
    }

    /// Answers a request that is for this server.
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
