//! The server: namespaces under one path, as a tower service and with an accept loop of its own.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use engineio::{Answered, BoxFuture, Engine};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpSocket, ToSocketAddrs},
    sync::watch,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    adapter::{Adapter, Backend},
    broadcast::BroadcastOperator,
    client_files::ClientFiles,
    config::ServerConfig,
    error::EmitError,
    event::EventName,
    namespace::Namespace,
    namespaces::{Namespaces, Sessions},
    proto::args::ToArgs,
    rooms::Room,
};

/// How many connections may wait to be accepted: enough for all clients that reconnect at once.
const BACKLOG: u32 = 4096;

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
    namespaces: Arc<Namespaces>,
    config: Arc<ServerConfig>,
    path: Box<str>,
    client_files: Option<ClientFiles>,
    backend: Option<Arc<dyn Backend>>,
    /// Becomes `true` when the server closes.
    closed: watch::Sender<bool>,
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
    /// Panics if an interval or timeout is zero, if no transport is named, if the path does not begin with a slash, or
    /// if the cookie is one that no browser takes.
    #[track_caller]
    pub fn with_config(config: ServerConfig) -> Self {
        Self::build(config, None)
    }

    #[track_caller]
    pub(crate) fn build(config: ServerConfig, backend: Option<Arc<dyn Backend>>) -> Self {
        assert!(config.path.starts_with('/'), "the path of a server begins with a slash: `{}`", config.path);
        assert!(!config.connect_timeout.is_zero(), "connect_timeout must not be zero");
        let mut path = config.path.trim_end_matches('/').to_owned();
        if config.add_trailing_slash || path.is_empty() {
            path.push('/');
        }
        let client_files = (!config.serve_client.as_os_str().is_empty())
            .then(|| ClientFiles::new(&config.serve_client, config.engine.http_compression.is_some()));
        let config = Arc::new(config);
        let namespaces = Arc::new(Namespaces::default());
        let sessions = Sessions { namespaces: namespaces.clone(), config: config.clone() };
        let engine = Engine::new(sessions, config.engine.clone());
        let closed = watch::Sender::new(false);
        let shared = Shared { namespaces, config, path: path.into(), client_files, backend, closed };
        Self { shared: Arc::new(shared), engine }
    }

    /// Adds a namespace. Node: `io.of(path)`.
    ///
    /// # Panics
    ///
    /// Panics if there is one of the same path.
    #[track_caller]
    #[must_use]
    pub fn namespace<D: Send + Sync + 'static>(self, namespace: Namespace<D>) -> Self {
        let path = namespace.path().to_owned();
        let adapter = Adapter::new(&path, self.shared.config.clone(), self.shared.backend.clone());
        let free = self.shared.namespaces.insert(namespace.into_endpoint(adapter));
        assert!(free, "there is a namespace `{path}` already");
        self
    }

    /// All sockets of a namespace, to emit to. Node: `io.of(path)`.
    pub fn of(&self, path: &str) -> BroadcastOperator {
        BroadcastOperator::new(self.shared.namespaces.adapter(path))
    }

    /// The sockets in a room of the namespace `/`. Node: `io.to(room)`.
    pub fn to(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.of("/").to(room)
    }

    /// Sends an event to all sockets of the namespace `/`. Node: `io.emit(event, ...)`.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::emit`].
    pub fn emit<T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        self.of("/").emit(event, args)
    }

    /// The number of connections. Node: `io.engine.clientsCount`.
    pub fn session_count(&self) -> usize {
        self.engine.session_count()
    }

    /// The number of sockets in a namespace; none if there is no such namespace.
    pub fn socket_count(&self, path: &str) -> usize {
        self.shared.namespaces.adapter(path).map_or(0, |adapter| adapter.len())
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
        let mut failed = io::Error::from(io::ErrorKind::InvalidInput);
        for address in tokio::net::lookup_host(address).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
                Ok(listener) => return self.serve(listener).await,
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Accepts connections from a listener until [`close`](Self::close). Other paths are answered with 404.
    ///
    /// # Errors
    ///
    /// As [`engineio::serve`].
    ///
    /// # Cancel safety
    ///
    /// As [`listen`](Self::listen).
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let closed = self.closed();
        engineio::serve(listener, self, closed).await
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
    pub async fn serve_with<S, B>(self, listener: TcpListener, fallback: S) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let closed = self.closed();
        engineio::serve(listener, self.layer(fallback), closed).await
    }

    /// Ends all connections with the reason "server shutting down", and stops [`listen`](Self::listen) and
    /// [`serve`](Self::serve). Returns when all sessions have ended.
    ///
    /// No DISCONNECT packet is sent, so that clients reconnect, to another server if there is one.
    ///
    /// # Cancel safety
    ///
    /// The end goes on if the future is dropped.
    pub async fn close(&self) {
        self.shared.closed.send_replace(true);
        self.engine.close().await;
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
    fn matches<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        path == &*self.shared.path || self.client_file(path).is_some()
    }

    fn client_file(&self, path: &str) -> Option<(&ClientFiles, &'static str)> {
        let files = self.shared.client_files.as_ref()?;
        let name = path.strip_prefix(&*self.shared.path)?.trim_start_matches('/');
        Some((files, ClientFiles::known(name)?))
    }

    /// Answers a request that is for this server.
    fn respond<B>(&self, request: Request<B>) -> BoxFuture<Response<Full<Bytes>>>
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

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.shared.path).field("engine", &self.engine).finish()
    }
}

impl<B> Service<Request<B>> for Server
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answered {
        if self.matches(&request) {
            return self.respond(request).into();
        }
        let not_found: BoxFuture<_> = Box::pin(std::future::ready(status(StatusCode::NOT_FOUND)));
        not_found.into()
    }
}

impl<S> Layer<S> for Server {
    type Service = WithServer<S>;

    fn layer(&self, inner: S) -> WithServer<S> {
        WithServer { server: self.clone(), inner }
    }
}

/// A service behind a [`Server`]: it gets the requests for all other paths. Made by [`Server`] as a tower layer.
#[derive(Debug, Clone)]
pub struct WithServer<S> {
    server: Server,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for WithServer<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Either<Full<Bytes>, R>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.server.matches(&request) {
            let response = self.server.respond(request);
            return Box::pin(async move { Ok(response.await.map(Either::Left)) });
        }
        let response = self.inner.call(request);
        Box::pin(async move { Ok(response.await?.map(Either::Right)) })
    }
}
