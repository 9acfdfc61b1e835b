//! A connection of the accept loop, which processes its requests in sequence.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{
    body::{BodySender, RequestBody},
    clock::Clock,
    head::{self, HeadError, HeadInfo, Length},
};
use crate::{
    BoxFuture, ListenConfig, Listener, RequestError,
    engine::service::Shortcut,
    http::{
        reply::{Reply, json_error},
        view::RequestView,
    },
    listen::{
        HttpService,
        connections::Connections,
        drain::DrainSignal,
        http1::{
            response_head::{Framing, write_head},
            writer::ResponseContext,
        },
    },
    session::admission::Pipelined,
    transport::{
        stream::{CLOSED_CHECK_INTERVAL, Stream, is_closed},
        thread_buffers::with_read_buffer,
        upgrade::{OnUpgradeFn, SessionTask, UpgradeSlot, UpgradedParts},
    },
};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The maximum time for the client to read the last response before the connection is closed.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection, from the accept until it closes or is upgraded.
pub(in crate::listen) struct Connection<L: Listener, S> {
    pub(super) io: L::Io,
    address: L::Addr,
    service: S,
    shortcut: Option<Shortcut>,
    pub(super) connections: Connections,
    permit: OwnedSemaphorePermit,
    pub(super) drain: DrainSignal,
    /// Bytes that were received and have not been consumed.
    input: Vec<u8>,
    pub(super) clock: Clock,
    /// Unwritten bytes of `100 Continue`.
    interim: &'static [u8],
    /// `true` if the last write or flush returned `Pending`.
    pub(super) stalled: bool,
    /// `true` if the client has shut down its sending side.
    read_closed: bool,
    /// `Some` once the client has pipelined a request.
    pipelined: Option<Pipelined>,
}

/// The next event on a connection.
enum Next {
    Request(Box<ParsedRequest>),
    /// A request that the shortcut handles.
    Reply {
        reply: BoxFuture<Reply>,
        is_safe: bool,
        keep_alive: bool,
    },
    Invalid(HeadError),
    Closed,
}

/// Returns `true` for a safe method (RFC 9110, section 9.2.1). If the client of a safe request shuts down its
/// sending side, the request is aborted, as in Node.js. Any other request is processed once its body is
/// complete.
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// A request whose body may be incomplete.
struct ParsedRequest {
    request: Request<RequestBody>,
    info: HeadInfo,
    /// `Some` while the body is incomplete.
    body_sender: Option<BodySender>,
}

/// A request for the service, and the data that the connection needs to write the response.
struct Dispatched {
    request: Request<RequestBody>,
    body_sender: Option<BodySender>,
    context: ResponseContext,
    upgrade_slot: Option<UpgradeSlot>,
}

/// A switch to another protocol.
pub(in crate::listen) struct Switch {
    on_upgrade: OnUpgradeFn,
    /// The head of the 101 response.
    response_head: Vec<u8>,
}

/// The reason why the connection serves no further request.
enum End {
    /// The client sent an invalid request.
    Invalid(HeadError),
    /// The last response closes the connection.
    Responded,
    /// The connection was closed by the client, idle for too long, or drained.
    Closed,
}

impl<L: Listener, S> Connection<L, S> {
    pub(in crate::listen) fn new(
        (io, address): (L::Io, L::Addr),
        permit: OwnedSemaphorePermit,
        (service, shortcut): (S, Option<Shortcut>),
        connections: Connections,
        drain: DrainSignal,
    ) -> Self {
        let clock = Clock::new(connections.config().header_read_timeout);
        Self {
            io,
            address,
            service,
            shortcut,
            connections,
            permit,
            drain,
            input: Vec::new(),
            clock,
            interim: &[],
            stalled: false,
            read_closed: false,
            pipelined: None,
        }
    }

    /// Serves requests until the connection closes or is to be upgraded.
    ///
    /// Values that are only inspected are passed to functions, because local variables would enlarge the
    /// future.
    pub(in crate::listen) async fn run(&mut self) -> io::Result<Option<Switch>>
    where
        S: HttpService,
    {
        let mut is_first = true;
        let end = loop {
            let next = self.next_request(is_first).await?;
            is_first = false;
            let parsed = match next {
                Next::Request(parsed) => parsed,
                Next::Reply { reply, is_safe, keep_alive } => {
                    let reply = self.wait_for(reply, is_safe, None).await?;
                    if self.write_reply(reply, keep_alive).await? {
                        continue;
                    }
                    break End::Responded;
                }
                Next::Invalid(error) => break End::Invalid(error),
                Next::Closed => break End::Closed,
            };
            let Ok(()) = poll_fn(|cx| self.service.poll_ready(cx)).await;
            let Dispatched { request, mut body_sender, mut context, upgrade_slot } = self.prepare(*parsed);
            let is_safe = is_safe(request.method().as_str());
            let response = self.service.call(request);
            let Ok(response) = self.wait_for(response, is_safe, body_sender.as_mut()).await?;
            // A body that the service has not read would be parsed as the next request.
            context.keep_alive &= body_sender.is_none_or(|body_sender| body_sender.is_complete());
            let response = match take_switch(response, upgrade_slot) {
                Ok(switch) => return Ok(Some(switch)),
                Err(response) => response,
            };
            if !self.write_response(response, context).await? {
                break End::Responded;
            }
        };
        self.end(end).await?;
        Ok(None)
    }

    /// Passes the stream to the upgrade function.
    pub(in crate::listen) fn switch(
        self,
        Switch { on_upgrade, response_head }: Switch,
    ) -> Option<SessionTask> {
        let stream = Stream::from_accepted(self.io, self.permit);
        on_upgrade(UpgradedParts { stream, answer: response_head, rest: self.input })
    }

    /// Returns the next request.
    async fn next_request(&mut self, is_first: bool) -> io::Result<Next> {
        // The input may already contain the next request, which the client has pipelined.
        if !self.input.is_empty()
            && let Some(mut next) = self.parse_input()
        {
            if let Next::Request(parsed) = &mut next {
                parsed.request.extensions_mut().insert(self.pipelined.get_or_insert_default().clone());
            }
            return Ok(next);
        }
        let ListenConfig { header_read_timeout, keep_alive_timeout, .. } = *self.connections.config();
        if !is_first {
            let has_input = !self.input.is_empty();
            self.clock.set(if has_input { header_read_timeout } else { keep_alive_timeout });
        }
        poll_fn(|cx| {
            loop {
                if self.input.is_empty() && self.drain.is_draining() {
                    return Poll::Ready(Ok(Next::Closed));
                }
                let was_idle = self.input.is_empty();
                match self.poll_next(cx)? {
                    Poll::Ready(None) => {}
                    Poll::Ready(Some(next)) => return Poll::Ready(Ok(next)),
                    Poll::Pending => {
                        ready!(self.clock.poll(cx));
                        let next = if was_idle { Next::Closed } else { Next::Invalid(HeadError::TooSlow) };
                        return Poll::Ready(Ok(next));
                    }
                }
                if was_idle && !is_first {
                    self.clock.set(header_read_timeout);
                }
            }
        })
        .await
    }

    /// Reads once and parses the input. Returns `None` if the head is still incomplete.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Next>>> {
        with_read_buffer(|buffer| {
            let received = ready!(poll_read(&mut self.io, cx, buffer))?;
            if received.is_empty() {
                return Poll::Ready(Ok(Some(Next::Closed)));
            }
            let config = self.connections.config();
            if self.input.is_empty() {
                let (used, next) = parse_next(received, config, self.shortcut.as_ref());
                self.input.extend_from_slice(&received[used..]);
                return Poll::Ready(Ok(next));
            }
            let complete = received.contains(&b'\n') || self.input.len() + received.len() >= config.max_head;
            self.input.extend_from_slice(received);
            // Parse only after the end of a line. Otherwise, a head received byte by byte would be parsed
            // once per byte.
            Poll::Ready(Ok(if complete { self.parse_input() } else { None }))
        })
    }

    /// Parses a request from the input.
    fn parse_input(&mut self) -> Option<Next> {
        let (used, next) = parse_next(&self.input, self.connections.config(), self.shortcut.as_ref());
        self.consume_input(used);
        next
    }

    fn consume_input(&mut self, used: usize) {
        if used == self.input.len() {
            self.input = Vec::new();
        } else {
            self.input.drain(..used);
        }
    }

    /// Waits for the response of the service. During the wait, reads the body on demand, or detects that the
    /// client has disconnected.
    async fn wait_for<F, R>(
        &mut self,
        response: F,
        is_safe: bool,
        mut body_sender: Option<&mut BodySender>,
    ) -> io::Result<R>
    where
        F: Future<Output = R>,
    {
        let mut response = pin!(response);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(response) = response.as_mut().poll(cx) {
                    return Poll::Ready(Ok(response));
                }
                ready!(self.poll_client(cx, is_safe, body_sender.as_deref_mut()))?;
            }
        })
        .await
    }

    /// Reads once. While the body is incomplete, waits until the service polls for more of it, and reads the
    /// body. Otherwise reads subsequent requests, up to the size of a head, because only a read detects a
    /// disconnect. Fails if the client has disconnected.
    pub(super) fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
        is_safe: bool,
        body_sender: Option<&mut BodySender>,
    ) -> Poll<io::Result<()>> {
        let mut body_sender = body_sender.filter(|body_sender| !body_sender.is_complete());
        let mut room = usize::MAX;
        if let Some(body_sender) = &mut body_sender {
            ready!(body_sender.poll_demand(cx));
            if !self.input.is_empty() {
                let used = body_sender.take(&self.input);
                self.consume_input(used);
                return Poll::Ready(Ok(()));
            }
            while !self.interim.is_empty() {
                let written = ready!(Pin::new(&mut self.io).poll_write(cx, self.interim))?;
                self.interim = &self.interim[written..];
            }
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        } else if self.read_closed {
            return if is_safe {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            } else {
                Poll::Pending
            };
        } else {
            room = self.connections.config().max_head.saturating_sub(self.input.len());
            if room == 0 {
                return if is_safe { self.poll_closed(cx) } else { Poll::Pending };
            }
        }
        with_read_buffer(|buffer| {
            let room = room.min(buffer.len());
            let received = ready!(poll_read(&mut self.io, cx, &mut buffer[..room]))?;
            if received.is_empty() {
                self.read_closed = true;
                let is_complete = body_sender.is_none();
                return Poll::Ready(if is_complete {
                    Ok(())
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                });
            }
            let used = body_sender.map_or(0, |body_sender| body_sender.take(received));
            self.input.extend_from_slice(&received[used..]);
            Poll::Ready(Ok(()))
        })
    }

    /// Fails once the client has closed the connection. While the input is full, nothing is read, so only the kernel
    /// knows.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if is_closed(&self.io) {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.clock.set(CLOSED_CHECK_INTERVAL);
            ready!(self.clock.poll(cx));
        }
    }

    /// Prepares a request for the service.
    fn prepare(&mut self, ParsedRequest { mut request, info, body_sender }: ParsedRequest) -> Dispatched {
        let context = ResponseContext {
            is_head: request.method() == Method::HEAD,
            is_http11: request.version() == Version::HTTP_11,
            keep_alive: info.keep_alive,
        };
        self.interim = if info.expects_continue { CONTINUE } else { &[] };
        L::describe(&self.address, request.extensions_mut());
        let upgrade_slot = info.wants_upgrade.then(UpgradeSlot::default);
        if let Some(upgrade_slot) = &upgrade_slot {
            request.extensions_mut().insert(upgrade_slot.clone());
        }
        Dispatched { request, body_sender, context, upgrade_slot }
    }

    /// Closes the stream. Responds first if the last request was invalid.
    async fn end(&mut self, end: End) -> io::Result<()> {
        match end {
            End::Closed => {
                // With TLS, this sends a close alert.
                let _ = tokio::time::timeout(LINGER_TIMEOUT, self.io.shutdown()).await;
                return Ok(());
            }
            End::Invalid(error) => {
                let context = ResponseContext { is_head: false, is_http11: true, keep_alive: false };
                // The future is boxed, because this path is rare and would enlarge the outer future.
                Box::pin(self.write_response(refused(error), context)).await?;
            }
            End::Responded => {}
        }
        lingering_close(&mut self.io).await;
        Ok(())
    }
}

/// Returns the protocol switch if the service has accepted an upgrade; otherwise returns the response.
fn take_switch<B>(response: Response<B>, upgrade_slot: Option<UpgradeSlot>) -> Result<Switch, Response<B>> {
    let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let Some(on_upgrade) = upgrade_slot.filter(|_| is_switching).and_then(|upgrade_slot| upgrade_slot.take())
    else {
        return Err(response);
    };
    let mut response_head = Vec::with_capacity(256);
    write_head(&mut response_head, response.status(), response.headers(), Framing::None);
    Ok(Switch { on_upgrade, response_head })
}

/// Returns the response to an invalid request.
fn refused(error: HeadError) -> Response<Full<Bytes>> {
    tracing::debug!(?error, "request refused");
    let message = match error {
        HeadError::Malformed(_) => "Bad request",
        HeadError::TooLarge => "Request header fields too large",
        HeadError::TooSlow => "Request timeout",
    };
    json_error(error.status(), RequestError::BadRequest.code(), message)
}

/// Parses the next request if its head is complete. Returns the number of consumed bytes.
fn parse_next(bytes: &[u8], config: &ListenConfig, shortcut: Option<&Shortcut>) -> (usize, Option<Next>) {
    let result = head::read(bytes, config.max_head, config.max_headers, |len, parsed| {
        let info = HeadInfo::new(parsed)?;
        let rest = &bytes[len..];
        let complete_body = match info.body {
            // The guard ensures that the cast does not truncate.
            Length::Known(length) if length <= rest.len() as u64 => Some(&rest[..length as usize]),
            _ => None,
        };
        let used = len + complete_body.map_or(0, <[u8]>::len);
        if let Some(body) = complete_body
            && let Some(shortcut) = shortcut
            && !info.wants_upgrade
            && head::is_http11(parsed)
            // The `http` crate rejects some longer requests, such as requests with a long target.
            && len < usize::from(u16::MAX)
            && let (Some(method), Some(target)) = (parsed.method, parsed.path)
            && let Some(reply) = shortcut(&RequestView { method, target, headers: parsed.headers, body })
        {
            return Ok((used, Next::Reply { reply, is_safe: is_safe(method), keep_alive: info.keep_alive }));
        }
        let request = head::request(&bytes[..len], parsed)?;
        let (body, body_sender) = if let Some(body) = complete_body {
            (RequestBody::complete(Bytes::copy_from_slice(body)), None)
        } else {
            let (body, body_sender) = RequestBody::streaming(info.body);
            (body, Some(body_sender))
        };
        let parsed = ParsedRequest { request: request.map(|()| body), info, body_sender };
        Ok((used, Next::Request(Box::new(parsed))))
    });
    match result {
        Ok(Some((used, next))) => (used, Some(next)),
        Ok(None) => (0, None),
        Err(error) => (0, Some(Next::Invalid(error))),
    }
}

/// Reads once and returns the bytes read.
fn poll_read<'a>(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    space: &'a mut [u8],
) -> Poll<io::Result<&'a [u8]>> {
    let mut buffer = ReadBuf::new(space);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    let len = buffer.filled().len();
    Poll::Ready(Ok(&space[..len]))
}

/// Shuts down the sending side of a stream, and reads until the client closes its side. Closing with unread
/// bytes would send a reset, which may overtake the response. The number of bytes is not limited, because
/// most of an oversized body may already be in transit.
pub(in crate::listen) async fn lingering_close(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let closed = async {
        io.shutdown().await?;
        tokio::io::copy(&mut io, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER_TIMEOUT, closed).await;
}
