//! The accept loop of a [`Server`].

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Future, IntoFuture},
    io,
};

use bytes::Bytes;
use engineio::{BoxFuture, Listener, RequestBody};
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::server::{Server, service::ServerService};

/// The future of [`Server::serve`]. It starts when it is awaited.
///
/// # Errors
///
/// Currently returns no error.
///
/// # Cancel safety
///
/// If the future is dropped, no further connections are accepted; open connections are not closed.
#[must_use = "a server accepts connections only while it is awaited"]
pub struct Serve<L, S = Server> {
    server: Server,
    listener: L,
    service: S,
    shutdown: Option<BoxFuture<()>>,
}

#[cfg(feature = "forwarding")]
impl Server {
    /// Serves the requests that the other servers of the cluster forward to this server, until
    /// [`close`](Self::close) is called. The listener must be reachable at the address of the
    /// [`Forwarding`](engineio::Forwarding) option. Node.js has no such method.
    ///
    /// # Errors
    ///
    /// Currently returns no error.
    ///
    /// # Panics
    ///
    /// Panics if [`forwarding`](engineio::EngineConfig::forwarding) is not set.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no further connections of other servers are accepted.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use socketio::{EngineConfig, Forwarding, MemoryBus, Server, ServerConfig};
    /// use tokio::net::TcpListener;
    ///
    /// # async fn run(secret: String) -> std::io::Result<()> {
    /// let private = TcpListener::bind("10.0.0.5:4000").await?;
    /// let forwarding = Forwarding::new(secret, private.local_addr()?);
    /// let config = ServerConfig::default().engine(EngineConfig::default().forwarding(forwarding));
    /// let io = Server::with_cluster(config, MemoryBus::new());
    /// tokio::spawn(io.serve_forwarded(private));
    /// io.listen("0.0.0.0:3000").await
    /// # }
    /// ```
    #[track_caller]
    pub fn serve_forwarded<L: Listener>(
        &self,
        listener: L,
    ) -> impl Future<Output = io::Result<()>> + Send + use<L> {
        self.engine.serve_forwarded(listener).with_graceful_shutdown(self.closed()).into_future()
    }
}

impl<L: Listener> Serve<L> {
    pub(super) fn new(server: Server, listener: L) -> Self {
        Self { service: server.clone(), server, listener, shutdown: None }
    }
}

impl<L: Listener, S> Serve<L, S> {
    /// Sets the service that handles the requests for all other paths, such as a router of axum. It may have streaming
    /// bodies, trailers and upgrades of its own. By default, the server responds with 404.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(io: socketio::Server) -> std::io::Result<()> {
    /// let app = axum::Router::new().route("/", axum::routing::get(async || "hello"));
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// io.serve(listener).with_fallback(app).await
    /// # }
    /// ```
    pub fn with_fallback<F>(self, fallback: F) -> Serve<L, ServerService<F>> {
        let Self { server, listener, shutdown, .. } = self;
        Serve { service: server.layer(fallback), server, listener, shutdown }
    }

    /// [Closes](Server::close) the server when `signal` completes. The future then completes when all sessions are
    /// closed. Without a signal, it completes when another task has called [`close`](Server::close).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(io: socketio::Server) -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let interrupted = async { _ = tokio::signal::ctrl_c().await };
    /// io.serve(listener).with_graceful_shutdown(interrupted).await
    /// # }
    /// ```
    pub fn with_graceful_shutdown(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { shutdown: Some(Box::pin(signal)), ..self }
    }
}

impl<L, S, B> IntoFuture for Serve<L, S>
where
    L: Listener,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<()>;
    type IntoFuture = BoxFuture<io::Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { server, listener, service, shutdown } = self;
        let mut serving = engineio::serve(listener, service)
            .with_short_path(&server.engine, &server.shared.path)
            .with_connections(server.shared.connections.clone())
            .with_graceful_shutdown(server.closed())
            .into_future();
        let Some(signal) = shutdown else { return serving };
        Box::pin(async move {
            tokio::select! {
                result = &mut serving => result,
                () = signal => {
                    let (result, _) = tokio::join!(serving, server.close());
                    result
                }
            }
        })
    }
}

impl<L, S> fmt::Debug for Serve<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("server", &self.server).finish_non_exhaustive()
    }
}
