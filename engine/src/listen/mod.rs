//! The accept loop, which serves HTTP/1.1 with the limits that an open port needs.
//!
//! The folder accepts connections, parses requests, calls a service, and passes upgraded connections to
//! sessions. It is the uppermost folder: it may import all others (`engine`, `http`, `session`, `transport`,
//! `config`, `metrics`, `proto`, `error`, `shrink`), and none of them may import it. A server such as axum
//! replaces the whole folder.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    task::JoinSet,
};
use tower_service::Service;

use self::{
    connections::Connections,
    drain::{DrainSignal, Phase},
    http1::{Connection, RequestBody, lingering_close},
    listener::Listener,
};
use crate::{Application, Engine, engine::service::Shortcut, transport::upgrade::SessionTask};

pub(crate) mod connections;
pub(crate) mod drain;
pub(crate) mod http1;
pub(crate) mod listener;
#[cfg(feature = "tls")]
pub(crate) mod tls;

/// The response to a client that connects above `max_connections`.
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
                         Content-Length: 0\r\n\r\n";

/// The maximum number of connections accepted before the loop yields. Without the limit, a burst of clients
/// would fill the local queue of the worker, and the tasks of further clients would wait long.
const ACCEPTS_IN_A_ROW: usize = 8;

/// Serves HTTP/1.1 with WebSocket upgrades on `listener` until `shutdown` completes.
///
/// Only the engine can upgrade connections here. A service that performs upgrades itself requires another
/// server, such as axum, with the engine as one of its services.
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
    /// Serves HTTP/1.1 like [`serve`](crate::serve), with a direct path. The engine responds to polls and
    /// POSTs to `path` for open sessions directly from the read buffer. `service` handles all other requests.
    /// The direct path does not construct requests and responses, which saves a third of the cost outside of
    /// the kernel.
    ///
    /// `service` must pass all other requests for `path` to this engine. They include polls and POSTs for
    /// which the engine requires the whole request, because a [hook](crate::EngineConfig::allow_request) is
    /// set, responses are compressed, or the request is unusual.
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
        let shortcut = self.shortcut(path);
        serve_with(listener, (service, Some(shortcut)), connections, shutdown).await
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

/// Like [`serve`], with an optional shortcut, which is tried before the service.
async fn serve_with<L: Listener, S: HttpService>(
    listener: L,
    service: (S, Option<Shortcut>),
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
    accepting.spawn(accept(listener, service, connections.clone(), drain));
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

/// Accepts connections until it is aborted.
async fn accept<L: Listener, S: HttpService>(
    mut listener: L,
    service: (S, Option<Shortcut>),
    connections: Connections,
    drain: DrainSignal,
) {
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
                Some(permit) => spawn(
                    Connection::<L, S>::new(
                        (io, address),
                        permit,
                        service.clone(),
                        connections.clone(),
                        drain.clone(),
                    ),
                    drain.clone(),
                ),
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
fn spawn<L: Listener, S: HttpService>(mut connection: Connection<L, S>, drain: DrainSignal) {
    let http = async move {
        let result = {
            let mut requests = pin!(connection.run());
            let mut over = pin!(drain.clone().over());
            let mut registered = false;
            poll_fn(|cx| {
                // One registration of the waker suffices within a task. Polling for each request would take a
                // lock each time.
                if !registered || drain.is_draining() {
                    registered = true;
                    if over.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(None));
                    }
                }
                requests.as_mut().poll(cx)
            })
            .await
        };
        match result {
            Ok(switch) => connection.switch(switch?),
            Err(error) => {
                tracing::debug!(%error, "connection failed");
                None
            }
        }
    };
    tokio::spawn(Task::Http(Box::pin(http)));
}

/// The task of a connection. It serves requests until the connection closes, or runs a session after an
/// upgrade. Both futures are boxed, so that a session does not retain the memory of the HTTP connection.
enum Task<F> {
    Http(Pin<Box<F>>),
    Session(SessionTask),
}

impl<F: Future<Output = Option<SessionTask>>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                Self::Http(http) => match ready!(http.as_mut().poll(cx)) {
                    Some(session) => *self = Self::Session(session),
                    None => return Poll::Ready(()),
                },
                Self::Session(session) => return session.as_mut().poll(cx),
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
