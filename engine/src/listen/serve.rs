//! The entry point of the accept loop, [`serve`].

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Future, IntoFuture, pending},
    io,
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    accept, connections::Connections, listener::Listener, request_body::RequestBody, short_path::ShortPath,
};
use crate::{Application, BoxFuture, Engine};

/// Serves HTTP/1.1 and HTTP/2 on a listener. The service may be an application of its own, with streaming bodies,
/// trailers and upgrades, such as a router of axum. [`with_short_path`](Serve::with_short_path) reduces the cost of
/// requests to an engine.
///
/// Over TCP, each request has a [`RemoteAddr`](crate::RemoteAddr) extension. The limits are those of
/// [`ListenConfig`](crate::ListenConfig). A failed accept is retried, for example when the process has no descriptor
/// left. A failed connection does not affect other connections.
///
/// # Examples
///
/// ```
/// # use std::io;
/// # use engineio::{Application, Engine};
/// async fn listen<A: Application>(engine: Engine<A>) -> io::Result<()> {
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
///     // The engine handles all paths.
///     engineio::serve(listener, engine.clone()).with_short_path(&engine, "/engine.io/").await
/// }
/// ```
pub fn serve<L: Listener, S>(listener: L, service: S) -> Serve<L, S> {
    Serve {
        listener,
        service,
        short_path: None,
        connections: Connections::default(),
        shutdown: Box::pin(pending()),
    }
}

/// The future of [`serve`]. It starts when it is awaited.
///
/// # Errors
///
/// Currently returns no error.
///
/// # Cancel safety
///
/// If the future is dropped, no further connections are accepted. Requests in progress continue, and each connection
/// closes after its current request.
#[must_use = "a server accepts connections only while it is awaited"]
pub struct Serve<L, S> {
    listener: L,
    service: S,
    short_path: Option<Arc<ShortPath>>,
    connections: Connections,
    shutdown: BoxFuture<()>,
}

impl<L: Listener, S> Serve<L, S> {
    /// Sets the options and the counters of the connections. Servers that share a [`Connections`] handle share its
    /// limit on the number of connections. By default, the server has its own, with the default options.
    pub fn with_connections(self, connections: Connections) -> Self {
        Self { connections, ..self }
    }

    /// Adds a short path for the requests of an engine. The engine responds to plain requests for `path` directly:
    /// those with a complete head in HTTP/1.1, with the method GET, or POST with a `Content-Length`. Such a
    /// connection needs no buffer while a poll is pending, and a poll costs half as much. The first request that is
    /// anything else passes the connection on to hyper. [`short_path`](crate::ListenConfig::short_path) turns the
    /// short path off.
    ///
    /// The service handles all requests on the connections of hyper. It must pass those for `path` to this engine,
    /// and must not rely on seeing all of them. Hooks such as [`allow_request`](crate::EngineConfig::allow_request)
    /// see the requests on both paths.
    pub fn with_short_path<A: Application>(self, engine: &Engine<A>, path: &str) -> Self {
        Self { short_path: Some(ShortPath::new(engine, path)), ..self }
    }

    /// Stops accepting connections when `signal` completes. Requests in progress then have
    /// [`drain_timeout`](crate::ListenConfig::drain_timeout) to finish. By default, the server does not stop.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::io;
    /// # use engineio::{Application, Engine};
    /// async fn listen<A: Application>(engine: Engine<A>) -> io::Result<()> {
    ///     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    ///     let interrupted = async { _ = tokio::signal::ctrl_c().await };
    ///     engineio::serve(listener, engine.clone()).with_graceful_shutdown(interrupted).await
    /// }
    /// ```
    pub fn with_graceful_shutdown(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { shutdown: Box::pin(signal), ..self }
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
        let Self { listener, service, short_path, connections, shutdown } = self;
        let short_path = short_path.filter(|_| connections.config().short_path);
        Box::pin(async move {
            accept::run(listener, service, short_path, connections, shutdown).await;
            Ok(())
        })
    }
}

impl<L, S> fmt::Debug for Serve<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("connections", &self.connections).finish_non_exhaustive()
    }
}
