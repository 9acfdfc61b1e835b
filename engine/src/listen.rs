//! The accept loop: hyper with the limits that an open port needs.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower_service::Service;

use crate::open_request::RemoteAddr;

/// How long a client may take to send the head of a request.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request.
const MAX_HEAD: usize = 16 * 1024;
/// How long the loop rests when the process has no file descriptor left: an accept would fail at once again.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
/// How long requests may go on after `shutdown`.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves HTTP/1.1 with WebSocket upgrades on `listener` until `shutdown` completes.
///
/// Each connection is told apart by a [`RemoteAddr`] extension, gets `TCP_NODELAY`, and must send the head of a
/// request, of at most 16 KiB, within 10 seconds. After `shutdown`, requests in progress have 5 seconds to finish.
///
/// # Errors
///
/// Returns an error if the listener itself fails; a connection that fails ends alone.
///
/// # Cancel safety
///
/// Dropping the future stops accepting; connections that are open go on.
///
/// # Examples
///
/// See [`Engine`](crate::Engine).
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Each connection holds a receiver: it hears of the end by it, and by its drop tells that it has ended.
    let (end, running) = watch::channel(());
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
            Some(Ok((stream, address))) => {
                spawn_connection(running.clone(), stream, RemoteAddr(address), service.clone());
            }
            Some(Err(error)) if is_of_one_connection(&error) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
    drop(running);
    end.send_replace(());
    // What is still open after that time goes on alone; nothing more can be done about it here.
    let _ = tokio::time::timeout(DRAIN, end.closed()).await;
    Ok(())
}

fn spawn_connection<S, B>(mut end: watch::Receiver<()>, stream: TcpStream, address: RemoteAddr, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Without it, small messages would wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(service);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(address);
        hyper::service::Service::call(&service, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
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
            connection.await
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection failed");
        }
    });
}

/// Whether accepting failed for a client that was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
