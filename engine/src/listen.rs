//! The accept loop: hyper with the limits that an open port needs.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
};
use tower_service::Service;

use self::{config::ListenConfig, connections::Connections, head_timer::HeadTimer, listener::Listener};
use crate::transport::accepted::Accepted;

pub(crate) mod config;
pub(crate) mod connections;
mod head_timer;
pub(crate) mod listener;
#[cfg(feature = "tls")]
pub(crate) mod tls;

/// What a client hears that finds no place.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
                         Content-Length: 0\r\n\r\n";
/// How long a refused client may take to read that.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How much a refused client may send meanwhile.
const REFUSAL_READ: u64 = 64 * 1024;
/// hyper's smallest buffer.
const MIN_BUFFER: usize = 8192;

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Connections end after their request.
    Draining,
    /// Connections are dropped.
    Over,
}

/// Serves HTTP/1.1 with WebSocket upgrades on `listener` until `shutdown` completes.
///
/// Each request is told where it comes from, by a [`RemoteAddr`](crate::RemoteAddr) extension over TCP. The limits are
/// those of [`ListenConfig`]; several loops that share a [`Connections`] share its limit too. After `shutdown`, requests
/// in progress have [`drain_timeout`](field@ListenConfig::drain_timeout) to finish. An accept that fails, as it does
/// when the process has no descriptor left, is tried again; a connection that fails ends alone.
///
/// # Errors
///
/// None at present.
///
/// # Cancel safety
///
/// Dropping the future stops accepting; requests in progress go on, and their connections end after them.
///
/// # Examples
///
/// See [`Engine`](crate::Engine).
pub async fn serve<L, S, B>(
    mut listener: L,
    service: S,
    connections: Connections,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if let Err(error) = listener.prepare(connections.config()) {
        tracing::warn!(%error, "cannot set an option of the listener");
    }
    // Each connection holds a receiver: it hears of the end by it, and by its drop tells that it has ended.
    let (end, running) = watch::channel(Phase::Serving);
    let mut shutdown = pin!(shutdown);
    loop {
        let mut accept = pin!(listener.accept());
        let accepted = poll_fn(|cx| {
            if shutdown.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            accept.as_mut().poll(cx).map(Some)
        })
        .await;
        match accepted {
            None => break,
            Some(Ok((io, address))) => match connections.enter() {
                Some(place) => {
                    let heard = Arc::new(AtomicBool::new(false));
                    let accepted = Accepted { io, place, heard };
                    spawn_connection::<L, S, B>(
                        running.clone(),
                        accepted,
                        address,
                        service.clone(),
                        connections.config(),
                    );
                }
                None => refuse(&connections, io),
            },
            Some(Err(error)) if is_of_one_connection(&error) => {}
            Some(Err(error)) => {
                if connections.may_warn() {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(connections.config().accept_back_off).await;
            }
        }
    }
    // Whoever connects now is refused by the system, and finds another server.
    drop((listener, running));
    end.send_replace(Phase::Draining);
    if tokio::time::timeout(connections.config().drain_timeout, end.closed()).await.is_err() {
        end.send_replace(Phase::Over);
        end.closed().await;
    }
    Ok(())
}

fn spawn_connection<L, S, B>(
    mut end: watch::Receiver<Phase>,
    accepted: Accepted<L::Io>,
    address: L::Addr,
    service: S,
    config: &ListenConfig,
) where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = TowerToHyperService::new(service);
    let service = service_fn(move |mut request: Request<Incoming>| {
        L::describe(&address, request.extensions_mut());
        hyper::service::Service::call(&service, request)
    });
    let connection = http1::Builder::new()
        .timer(HeadTimer::new(accepted.heard.clone(), config))
        .header_read_timeout(config.header_read_timeout)
        .max_header_size(config.max_head)
        .max_headers(config.max_headers)
        .max_buf_size(config.max_head.max(MIN_BUFFER))
        .serve_connection(TokioIo::new(accepted), service)
        .with_upgrades();
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let done = {
            let end_seen = end.clone();
            let mut ending = pin!(end.changed());
            let mut registered = false;
            poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                // To register once is enough in a task; polling it with each request would take its lock each time.
                Poll::Pending if registered && !end_seen.has_changed().unwrap_or(true) => Poll::Pending,
                Poll::Pending => {
                    registered = true;
                    ending.as_mut().poll(cx).map(|_| None)
                }
            })
            .await
        };
        let result = if let Some(result) = done {
            result
        } else {
            connection.as_mut().graceful_shutdown();
            let mut over = pin!(over(end));
            poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Pending => over.as_mut().poll(cx).map(Ok),
                done @ Poll::Ready(_) => done,
            })
            .await
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection failed");
        }
    });
}

/// Returns when connections are to be dropped; never, if the accept loop itself was dropped.
async fn over(mut end: watch::Receiver<Phase>) {
    if end.wait_for(|&phase| phase == Phase::Over).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Tells a client that there is no place for it, if not too many are being told so already.
fn refuse(connections: &Connections, mut io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    if connections.may_warn() {
        tracing::warn!(refused = connections.refused() + 1, "too many connections");
    }
    let Some(permit) = connections.refuse() else { return };
    tokio::spawn(async move {
        let told = async {
            io.write_all(REFUSAL).await?;
            io.shutdown().await?;
            // A close with bytes unread would be a reset, which may overtake the answer.
            tokio::io::copy(&mut io.take(REFUSAL_READ), &mut tokio::io::sink()).await
        };
        let _ = tokio::time::timeout(REFUSAL_TIMEOUT, told).await;
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
