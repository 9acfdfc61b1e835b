//! Connections that hyper serves: HTTP/1 and HTTP/2 for all services.
//!
//! The task of a connection polls hyper, and enforces what hyper has no option for: the time between two requests,
//! the time for a client to read a response, and the detection of clients that have gone.

mod activity;
pub(super) mod incoming_body;
mod response_body;
mod service;

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Extensions;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use self::{activity::Activity, service::ConnectionService};
use super::{
    accept::HttpService,
    clock::Clock,
    connections::Connections,
    drain::DrainSignal,
    linger::{LINGER_TIMEOUT, lingering_close},
};
use crate::{
    ListenConfig, Listener, RequestError,
    http::reply::json_error_body,
    session::admission::Pipelined,
    transport::{http_stream::HttpStream, stream::CLOSED_CHECK_INTERVAL},
};

/// The first bytes of a client that knows that the server supports HTTP/2 (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The maximum size of hyper's buffers for a connection, unless a head may be larger.
const MAX_BUFFER: usize = 64 * 1024;
/// The default of hyper. Another value costs an allocation for each request.
const DEFAULT_MAX_HEADERS: usize = 100;
/// The maximum number of bytes that a client may send in advance on an HTTP/2 stream.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The maximum number of bytes that a client may send in advance on all HTTP/2 streams of a connection.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// The maximum size of an HTTP/2 frame, the smallest value that the RFC allows.
const MAX_FRAME: u32 = 16 * 1024;
/// The number of bytes that a service may write in advance to an HTTP/2 stream.
const MAX_STREAM_BUFFER: usize = 64 * 1024;
/// The size of the table with which HTTP/2 clients compress headers, in bytes. This is the default of the RFC.
const HEADER_TABLE: u32 = 4096;
/// The maximum number of HTTP/2 streams that the client has reset before the service has received their requests.
const MAX_PENDING_RESETS: usize = 20;
/// The maximum number of HTTP/2 streams that the server resets because of errors of the client.
const MAX_ERROR_RESETS: usize = 128;
/// The time between two pings of an HTTP/2 connection, and for the response to a ping.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The options of hyper, shared by all connections.
pub(super) struct HyperServer {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl HyperServer {
    pub(super) fn new(config: &ListenConfig) -> Arc<Self> {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .half_close(true)
            .title_case_headers(true)
            .max_header_size(config.max_head)
            .max_buf_size(config.max_head.max(MAX_BUFFER));
        if config.max_headers != DEFAULT_MAX_HEADERS {
            http1.max_headers(config.max_headers);
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(config.http2_max_streams)
            .max_header_list_size(u32::try_from(config.max_head).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_ERROR_RESETS)
            .header_table_size(HEADER_TABLE)
            .adaptive_window(false)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .max_send_buf_size(MAX_STREAM_BUFFER)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL);
        Arc::new(Self { http1, http2 })
    }
}

/// A connection that is passed to hyper.
pub(super) struct Handover<L: Listener> {
    pub(super) io: L::Io,
    pub(super) address: L::Addr,
    pub(super) permit: OwnedSemaphorePermit,
    /// Bytes that have already been received.
    pub(super) input: Vec<u8>,
    /// The deadline of the first head.
    pub(super) clock: Clock,
    pub(super) pipelined: Pipelined,
}

/// Serves a connection until it closes or a service takes the stream over.
pub(super) async fn serve<L: Listener, S: HttpService>(
    server: Arc<HyperServer>,
    handover: Handover<L>,
    service: S,
    connections: Connections,
    drain: DrainSignal,
) {
    let Handover { io, address, permit, input, clock, pipelined } = handover;
    let activity = Arc::new(Activity::default());
    let mut extensions = Extensions::new();
    L::describe(&io, &address, &mut extensions);
    let service = ConnectionService {
        service,
        extensions,
        max_headers: connections.config().max_headers,
        activity: activity.clone(),
        pipelined,
    };
    let stream = HttpStream::new(io, permit, input, activity.received());
    let io = TokioIo::new(stream.handle());
    let mut monitor = Monitor {
        stream,
        activity,
        connections,
        drain,
        clock,
        phase: Phase::Head(0),
        is_http2: false,
        is_closing: false,
    };
    let end = match monitor.read_version().await {
        Err(end) => end,
        Ok(true) => {
            monitor.is_http2 = true;
            let connection = pin!(server.http2.serve_connection(io, service));
            monitor.run(connection, http2::Connection::graceful_shutdown).await
        }
        Ok(false) => {
            let connection = pin!(server.http1.serve_connection(io, service).with_upgrades());
            monitor.run(connection, http1::UpgradeableConnection::graceful_shutdown).await
        }
    };
    if !monitor.activity.is_upgraded() {
        end.close(monitor.stream).await;
    }
}

/// The end of a connection.
enum End {
    /// hyper has served the last request.
    Finished,
    /// The client has gone, or has read nothing for too long.
    Gone,
    /// No request has arrived for too long, or the server shuts down.
    Idle,
    /// A head was incomplete for too long.
    TooSlow,
}

impl End {
    async fn close<Io: AsyncRead + AsyncWrite + Unpin + 'static>(self, mut stream: HttpStream<Io>) {
        match self {
            Self::Gone => return,
            Self::Idle => {
                // With TLS, this sends a close alert.
                let _ = timeout(LINGER_TIMEOUT, stream.shutdown()).await;
                return;
            }
            Self::TooSlow => {
                let body = json_error_body(RequestError::BadRequest.code(), "Request timeout");
                let response = format!(
                    "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = timeout(LINGER_TIMEOUT, stream.write_all(response.as_bytes())).await;
            }
            Self::Finished => {}
        }
        lingering_close(stream).await;
    }
}

/// What a connection waits for. The number of requests distinguishes phases of the same kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The rest of a head, or the first head.
    Head(usize),
    /// The next request.
    Idle(usize),
    /// A service.
    Busy,
    /// The client, which must read more than this number of bytes.
    Stalled(u64),
    /// The client, which must read more than this number of parts of its responses over HTTP/2.
    Offered(usize),
    /// The end of an idle HTTP/2 connection.
    Closing(usize),
}

/// The task of a connection, apart from hyper.
struct Monitor<Io> {
    stream: HttpStream<Io>,
    activity: Arc<Activity>,
    connections: Connections,
    drain: DrainSignal,
    /// The deadline of the phase.
    clock: Clock,
    phase: Phase,
    is_http2: bool,
    /// `true` once an idle HTTP/2 connection is being closed.
    is_closing: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin + 'static> Monitor<Io> {
    /// Reads until the version of HTTP is known. Returns `true` for HTTP/2.
    async fn read_version(&mut self) -> Result<bool, End> {
        poll_fn(|cx| {
            let max = self.connections.config().max_head.max(HTTP2_PREFACE.len());
            let version = self.stream.poll_peek(cx, max, |bytes, is_over| {
                let len = bytes.len().min(HTTP2_PREFACE.len());
                let is_http2 = bytes[..len] == HTTP2_PREFACE[..len];
                (!is_http2 || is_over || len == HTTP2_PREFACE.len())
                    .then_some(is_http2 && len == HTTP2_PREFACE.len())
            });
            match version {
                Poll::Ready(version) => Poll::Ready(version.map_err(|_| End::Gone)),
                Poll::Pending if self.drain.is_draining() && !self.activity.has_received() => {
                    Poll::Ready(Err(End::Idle))
                }
                Poll::Pending => self.poll_deadline(cx).map(Err),
            }
        })
        .await
    }

    /// Polls hyper until the connection ends.
    async fn run<C>(&mut self, mut connection: Pin<&mut C>, shut_down: impl Fn(Pin<&mut C>)) -> End
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut is_draining = false;
        poll_fn(|cx| {
            if !is_draining && self.drain.is_draining() {
                is_draining = true;
                shut_down(connection.as_mut());
            }
            loop {
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(self.end_of(result));
                }
                match ready!(self.poll_client(cx)) {
                    End::Idle if self.is_http2 && !self.is_closing => {
                        self.is_closing = true;
                        shut_down(connection.as_mut());
                    }
                    end => return Poll::Ready(end),
                }
            }
        })
        .await
    }

    fn end_of(&self, result: hyper::Result<()>) -> End {
        if let Err(error) = result {
            tracing::debug!(%error, "connection failed");
            if !error.is_parse() {
                return End::Gone;
            }
        }
        if self.stream.is_read_closed() { End::Idle } else { End::Finished }
    }

    /// Completes when the connection must end although hyper waits.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.enter_phase();
        if self.phase != Phase::Busy {
            return self.poll_deadline(cx);
        }
        if self.is_http2 || self.activity.reads_body() {
            return Poll::Pending;
        }
        self.poll_behind(cx).map_err(|_| End::Gone).map(|result| result.unwrap_or_else(|end| end))
    }

    /// Reads what follows an HTTP/1 request, up to the size of a head, because only a read detects a disconnect.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<End>> {
        let max = self.connections.config().max_head;
        while ready!(self.stream.poll_ahead(cx, max))? {}
        if !self.activity.aborts_at_end() {
            return Poll::Pending;
        }
        // While nothing is read, only the kernel knows.
        loop {
            if self.stream.is_read_closed() || self.stream.is_closed() {
                return Poll::Ready(Ok(End::Gone));
            }
            self.clock.set(CLOSED_CHECK_INTERVAL);
            ready!(self.clock.poll(cx));
        }
    }

    /// Sets the deadline of a phase that has just begun.
    fn enter_phase(&mut self) {
        let requests = self.activity.requests();
        let phase = if let Some(written) = self.stream.stalled_at() {
            Phase::Stalled(written)
        } else if let Some(sent) = self.activity.offered_at() {
            Phase::Offered(sent)
        } else if self.activity.is_busy() {
            Phase::Busy
        } else if self.is_closing {
            Phase::Closing(requests)
        } else if !self.is_http2 && (requests == 0 || self.activity.has_received()) {
            Phase::Head(requests)
        } else {
            Phase::Idle(requests)
        };
        if phase != self.phase {
            self.phase = phase;
            let config = self.connections.config();
            self.clock.set(match phase {
                Phase::Busy => return,
                Phase::Head(_) => config.header_read_timeout,
                Phase::Idle(_) => config.keep_alive_timeout,
                Phase::Stalled(_) | Phase::Offered(_) => config.write_timeout,
                Phase::Closing(_) => LINGER_TIMEOUT,
            });
        }
    }

    /// Completes after the deadline of the phase.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.clock.poll(cx).map(|()| match self.phase {
            Phase::Stalled(_) | Phase::Offered(_) => End::Gone,
            Phase::Head(_) if self.activity.has_received() => End::TooSlow,
            _ => End::Idle,
        })
    }
}
