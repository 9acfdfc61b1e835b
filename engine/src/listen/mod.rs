//! The accept loop, which serves HTTP with the limits that an open port needs.
//!
//! The folder accepts connections, answers plain requests to the engine (`short_path/`), and has hyper serve
//! everything else (`hyper_server/`). It is the uppermost folder: it may import all others (`engine`, `http`,
//! `session`, `transport`, `config`, `metrics`, `proto`, `error`, `shrink`), and none of them may import it. A
//! server such as axum replaces the whole folder.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::OwnedSemaphorePermit,
    task::JoinSet,
};
use tower_service::Service;

use self::{
    clock::Clock,
    connections::Connections,
    drain::{DrainSignal, Phase},
    hyper_server::{Handover, HyperServer},
    linger::lingering_close,
    listener::Listener,
    request_body::RequestBody,
    short_path::{Connection, Outcome, ShortPath},
};
use crate::{Application, BoxFuture, Engine, session::admission::Pipelined};

mod clock;
pub(crate) mod connections;
pub(crate) mod drain;
mod host;
mod hyper_server;
mod linger;
pub(crate) mod listener;
pub(crate) mod request_body;
mod short_path;
#[cfg(feature = "tls")]
pub(crate) mod tls;

/// The response to a client that connects above `max_connections`.
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
                         Content-Length: 0\r\n\r\n";

/// The maximum number of connections accepted before the loop yields. Without the limit, a burst of clients
/// would fill the local queue of the worker, and the tasks of further clients would wait long.
const ACCEPTS_IN_A_ROW: usize = 8;

/// Serves HTTP/1.1 and HTTP/2 on `listener` until `shutdown` completes. The service may be an application of its
/// own, with streaming bodies, trailers and upgrades, such as a router of axum.
///
/// [`Engine::serve`](crate::Engine::serve) costs less for the requests of an engine.
///
/// Over TCP, each request has a [`RemoteAddr`](crate::RemoteAddr) extension. The limits are set by
/// [`ListenConfig`](crate::ListenConfig). Several loops that share a [`Connections`] handle share its limit
/// on the number of connections. After `shutdown`, requests in progress have
/// [`drain_timeout`](field@crate::ListenConfig::drain_timeout) to finish. A failed accept is retried, for
/// example when the process has no descriptor left. A failed connection does not affect other connections.
///
/// # Errors
///
/// Currently returns no error.
///
/// # Cancel safety
///
/// If the future is dropped, the loop stops accepting soon after. Requests in progress continue, and each
/// connection closes after its current request.
///
/// # Examples
///
/// See [`Engine`](crate::Engine).
pub async fn serve<L, S, B>(
    listener: L,
    service: S,
    connections: Connections,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    L: Listener,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    serve_with(listener, (service, None), connections, shutdown).await
}

impl<A: Application> Engine<A> {
    /// Serves HTTP like [`serve`](crate::serve), with a short path. The engine responds to plain requests for `path`
    /// directly: those with a complete head in HTTP/1.1, with the method GET, or POST with a `Content-Length`. Such a
    /// connection needs no buffer while a poll is pending, and a poll costs half as much. The first request that is
    /// anything else passes the connection on to hyper. [`short_path`](field@crate::ListenConfig::short_path) turns
    /// the short path off.
    ///
    /// `service` handles all requests on the connections of hyper. It must pass those for `path` to this engine, and
    /// must not rely on seeing all of them. Hooks such as [`allow_request`](crate::EngineConfig::allow_request) see
    /// the requests on both paths.
    ///
    /// # Errors
    ///
    /// See [`serve`](crate::serve).
    ///
    /// # Cancel safety
    ///
    /// See [`serve`](crate::serve).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{future::pending, io};
    /// # use engineio::{Application, Connections, Engine};
    /// async fn listen<A: Application>(engine: Engine<A>) -> io::Result<()> {
    ///     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    ///     // The engine handles all paths.
    ///     engine.serve(listener, "/engine.io/", engine.clone(), Connections::default(), pending()).await
    /// }
    /// ```
    pub async fn serve<L, S, B>(
        &self,
        listener: L,
        path: &str,
        service: S,
        connections: Connections,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()>
    where
        L: Listener,
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let short_path = connections.config().short_path.then(|| ShortPath::new(self, path));
        serve_with(listener, (service, short_path), connections, shutdown).await
    }
}

/// A service that [`serve`] accepts.
trait HttpService:
    Service<Request<RequestBody>, Response = Response<Self::Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Body = B;
}

/// Like [`serve`], with an optional short path in front of the service.
async fn serve_with<L: Listener, S: HttpService>(
    listener: L,
    (service, short_path): (S, Option<Arc<ShortPath>>),
    connections: Connections,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    if let Err(error) = listener.prepare(connections.config()) {
        tracing::warn!(%error, "cannot set an option of the listener");
    }
    let (phase, drain) = DrainSignal::channel();
    // The loop runs in a task of its own. A runtime polls the future passed to `block_on` on a thread that is
    // not a worker, so each connection would have to move to a worker.
    let mut accepting = JoinSet::new();
    let serving = Serving {
        service,
        short_path,
        hyper: HyperServer::new(connections.config()),
        connections: connections.clone(),
        drain,
    };
    accepting.spawn(accept(listener, serving));
    let mut shutdown = pin!(shutdown);
    let panicked = poll_fn(|cx| match shutdown.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => accepting.poll_join_next(cx),
    })
    .await;
    if let Some(Err(error)) = panicked
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
    // From now on, the kernel rejects new clients, which can then connect to another server.
    accepting.shutdown().await;
    phase.send_replace(Phase::Draining);
    if tokio::time::timeout(connections.config().drain_timeout, phase.closed()).await.is_err() {
        phase.send_replace(Phase::Over);
        phase.closed().await;
    }
    Ok(())
}

/// What serves the connections of a listener.
#[derive(Clone)]
struct Serving<S> {
    service: S,
    /// `None` if hyper serves every connection from the start.
    short_path: Option<Arc<ShortPath>>,
    hyper: Arc<HyperServer>,
    connections: Connections,
    drain: DrainSignal,
}

/// Accepts connections until it is aborted.
async fn accept<L: Listener, S: HttpService>(mut listener: L, serving: Serving<S>) {
    let connections = serving.connections.clone();
    let mut batch = Batch::default();
    loop {
        if batch.0 == ACCEPTS_IN_A_ROW {
            batch.end();
            tokio::task::yield_now().await;
        }
        let accepted = {
            let mut accepted = pin!(listener.accept());
            poll_fn(|cx| {
                let accepted = accepted.as_mut().poll(cx);
                if accepted.is_pending() {
                    batch.end();
                }
                accepted
            })
            .await
        };
        batch.0 += 1;
        match accepted {
            Ok((io, address)) => match connections.try_acquire() {
                Some(permit) => spawn::<L, S>((io, address), permit, serving.clone()),
                None => refuse(&connections, io),
            },
            Err(error) if is_disconnect(&error) => {}
            Err(error) => {
                if let Some(permit) = connections.may_warn() {
                    tracing::warn!(suppressed = permit.suppressed, %error, "cannot accept connections");
                }
                tokio::time::sleep(connections.config().accept_back_off).await;
            }
        }
    }
}

/// The number of connections accepted in a row.
#[derive(Default)]
struct Batch(usize);

impl Batch {
    /// Ends a batch. A worker of tokio runs the most recently spawned task first. Spawning an empty task last
    /// keeps requests in the order of their connections.
    fn end(&mut self) {
        if std::mem::take(&mut self.0) > 1 {
            tokio::spawn(async {});
        }
    }
}

/// Spawns the task of a connection.
fn spawn<L: Listener, S: HttpService>(
    (io, address): (L::Io, L::Addr),
    permit: OwnedSemaphorePermit,
    serving: Serving<S>,
) {
    let Some(short_path) = serving.short_path.clone() else {
        let clock = Clock::new(serving.connections.config().header_read_timeout);
        let pipelined = Pipelined::default();
        let handover = Handover::<L> { io, address, permit, input: Vec::new(), clock, pipelined };
        tokio::spawn(serving.hyper(handover));
        return;
    };
    let (connections, drain) = (serving.connections.clone(), serving.drain.clone());
    let mut connection = Connection::<L>::new((io, address), permit, short_path, connections, drain.clone());
    let short = async move {
        let outcome = until_over(&drain, pin!(connection.run())).await?;
        match outcome {
            Ok(Outcome::Closed) => None,
            Ok(Outcome::Switch(switch)) => connection.switch(switch),
            Ok(Outcome::Handover) => Some(serving.hyper(connection.into_handover())),
            Err(error) => {
                tracing::debug!(%error, "connection failed");
                None
            }
        }
    };
    tokio::spawn(Task::Short(Box::pin(short)));
}

impl<S: HttpService> Serving<S> {
    /// Returns the future of a connection that hyper serves.
    fn hyper<L: Listener>(self, handover: Handover<L>) -> BoxFuture<()> {
        Box::pin(async move {
            let Self { service, hyper, connections, drain, .. } = self;
            let serving = pin!(hyper_server::serve(hyper, handover, service, connections, drain.clone()));
            until_over(&drain, serving).await;
        })
    }
}

/// Returns the output of a future, or `None` if its connection must be dropped before that.
///
/// The caller pins the future, because an argument that is pinned here would be stored twice.
async fn until_over<T>(drain: &DrainSignal, mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut over = pin!(drain.clone().over());
    let mut registered = false;
    poll_fn(|cx| {
        // One registration of the waker suffices within a task. Polling for each request would take a lock each
        // time.
        if !registered || drain.is_draining() {
            registered = true;
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// The task of a connection. It runs the short path until the connection closes, and then the session or hyper if
/// one of them takes the stream over. Both futures are boxed, so that the task does not retain the memory of the
/// short path.
enum Task<F> {
    Short(Pin<Box<F>>),
    Next(BoxFuture<()>),
}

impl<F: Future<Output = Option<BoxFuture<()>>>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                Self::Short(short) => match ready!(short.as_mut().poll(cx)) {
                    Some(next) => *self = Self::Next(next),
                    None => return Poll::Ready(()),
                },
                Self::Next(next) => return next.as_mut().poll(cx),
            }
        }
    }
}

/// Rejects a client with 503, or without a response if too many rejections are in progress.
fn refuse(connections: &Connections, mut io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    if let Some(permit) = connections.may_warn() {
        tracing::warn!(
            suppressed = permit.suppressed,
            refused = connections.refused() + 1,
            "too many connections"
        );
    }
    let Some(permit) = connections.try_reject() else { return };
    tokio::spawn(async move {
        if io.write_all(UNAVAILABLE).await.is_ok() {
            lingering_close(io).await;
        }
        drop(permit);
    });
}

/// Returns `true` if the client disconnected before it was accepted.
fn is_disconnect(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
