//! The accept loop and the task of a connection.

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

use super::{
    clock::Clock,
    connections::Connections,
    drain::{DrainSignal, Phase},
    hyper_server::{self, Handover, HyperServer},
    linger::lingering_close,
    listener::Listener,
    request_body::RequestBody,
    short_path::{Connection, Outcome, ShortPath},
};
use crate::{BoxFuture, session::admission::Pipelined};

/// The response to a client that connects above `max_connections`.
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
                         Content-Length: 0\r\n\r\n";

/// The maximum number of connections accepted before the loop yields. Without the limit, a burst of clients
/// would fill the local queue of the worker, and the tasks of further clients would wait long.
const ACCEPTS_IN_A_ROW: usize = 8;

/// A service that [`serve`](super::serve) accepts.
pub(super) trait HttpService:
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

/// Accepts and serves connections until `shutdown` completes, and drains them.
pub(super) async fn run<L: Listener, S: HttpService>(
    listener: L,
    service: S,
    short_path: Option<Arc<ShortPath>>,
    connections: Connections,
    shutdown: impl Future<Output = ()>,
) {
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
