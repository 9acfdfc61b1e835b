//! The accept loop: HTTP/1.1 with the limits that an open port needs.

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

/// What a client hears that finds no place.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
                         Content-Length: 0\r\n\r\n";

/// How many connections are accepted before others have their turn. A crowd that comes at once would fill the queue of the
/// worker, and what does not fit there waits long.
const ACCEPTS_IN_A_ROW: usize = 8;

/// Serves HTTP/1.1 with WebSocket upgrades on `listener` until `shutdown` completes.
///
/// Only the engine takes connections over: a service that does so too belongs behind another server, such as
/// axum's, with the engine as one of its services.
///
/// Each request is told where it comes from, by a [`RemoteAddr`](crate::RemoteAddr) extension over TCP. The limits are
/// those of [`ListenConfig`](crate::ListenConfig); several loops that share a [`Connections`] share its limit too. After `shutdown`, requests
/// in progress have [`drain_timeout`](field@crate::ListenConfig::drain_timeout) to finish. An accept that fails, as it does
/// when the process has no descriptor left, is tried again; a connection that fails ends alone.
///
/// # Errors
///
/// None at present.
///
/// # Cancel safety
///
/// Dropping the future stops accepting soon after; requests in progress go on, and their connections end after them.
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
    /// Serves HTTP/1.1 as [`serve`](crate::serve) does, with `service` for all requests but polls and POSTs to `path` of
    /// sessions that are open: the engine answers these from where they were read, without the price of making them
    /// requests and responses, which is a third of what they cost outside of the kernel.
    ///
    /// `service` hands the other requests for `path` to this engine. It does so with polls and POSTs too where more must
    /// be known of them: with [hooks](crate::EngineConfig::allow_request), with compressed answers, or if they are unusual.
    ///
    /// # Errors
    ///
    /// As [`serve`](crate::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](crate::serve).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{future::pending, io};
    /// # use engineio::{Application, Connections, Engine};
    /// async fn listen<A: Application>(engine: Engine<A>) -> io::Result<()> {
    ///     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    ///     // The engine alone answers every path.
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

/// The services that [`serve`] takes, in a word.
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

/// As [`serve`]; the shortcut, if there is one, comes before the service.
async fn serve_with<L: Listener, S: HttpService>(
    listener: L,
    service: (S, Option<Shortcut>),
    connections: Connections,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    if let Err(error) = listener.prepare(connections.config()) {
        tracing::warn!(%error, "cannot set an option of the listener");
    }
    let (end, drain) = DrainSignal::channel();
    // A task of its own: a runtime polls the future that it blocks on in another thread than its tasks, and each
    // connection would have to be passed on.
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
    // Whoever connects now is refused by the system, and finds another server.
    accepting.shutdown().await;
    end.send_replace(Phase::Draining);
    if tokio::time::timeout(connections.config().drain_timeout, end.closed()).await.is_err() {
        end.send_replace(Phase::Over);
        end.closed().await;
    }
    Ok(())
}

/// Accepts connections for ever.
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
            Ok((io, address)) => match connections.enter() {
                Some(place) => spawn(
                    Connection::<L, S>::new(
                        (io, address),
                        place,
                        service.clone(),
                        connections.clone(),
                        drain.clone(),
                    ),
                    drain.clone(),
                ),
                None => refuse(&connections, io),
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(left_out) = connections.may_warn() {
                    tracing::warn!(left_out, %error, "cannot accept connections");
                }
                tokio::time::sleep(connections.config().accept_back_off).await;
            }
        }
    }
}

/// How many connections were accepted in a row.
#[derive(Default)]
struct Batch(usize);

impl Batch {
    /// Lets others have their turn. A worker of tokio runs the task first that was spawned last: one without work, so
    /// that requests are taken in the order of their connections.
    fn end(&mut self) {
        if std::mem::take(&mut self.0) > 1 {
            tokio::spawn(async {});
        }
    }
}

/// Runs a connection to its end.
fn spawn<L: Listener, S: HttpService>(mut connection: Connection<L, S>, drain: DrainSignal) {
    let http = async move {
        let result = {
            let mut requests = pin!(connection.run());
            let mut over = pin!(drain.clone().over());
            let mut registered = false;
            poll_fn(|cx| {
                // To register once is enough in a task; doing so with each request would take a lock each time.
                if !registered || drain.has_begun() {
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

/// What the task of a connection does: it answers requests, until the connection ends or becomes a session. Each in a
/// box of its own, so that a session keeps no room for HTTP.
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

/// Tells a client that there is no place for it, if not too many are being told so already.
fn refuse(connections: &Connections, mut io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    if let Some(left_out) = connections.may_warn() {
        tracing::warn!(left_out, refused = connections.refused() + 1, "too many connections");
    }
    let Some(permit) = connections.refuse() else { return };
    tokio::spawn(async move {
        if io.write_all(REFUSAL).await.is_ok() {
            lingering_close(io).await;
        }
        drop(permit);
    });
}

/// Whether accepting failed for a client that was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
