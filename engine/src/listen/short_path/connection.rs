//! A connection in the short path, which processes its requests in sequence.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{
    ShortPath,
    body::{BodySender, SizedBody},
    head::{self, HeadInfo, Seen},
    response_head::write_head,
};
use crate::{
    BoxFuture, ListenConfig, Listener, ResponseBody,
    http::{reply::Reply, view::RequestView},
    listen::{
        clock::Clock,
        connections::Connections,
        drain::DrainSignal,
        hyper_server::Handover,
        linger::{LINGER_TIMEOUT, lingering_close},
        request_body::RequestBody,
    },
    session::admission::Pipelined,
    transport::{
        stream::{CLOSED_CHECK_INTERVAL, Stream, is_closed},
        thread_buffers::with_read_buffer,
        upgrade::{OnUpgradeFn, SessionTask, UpgradeSlot, UpgradedParts},
    },
};

/// A connection, from the accept until it closes, is upgraded, or is left to hyper.
pub(in crate::listen) struct Connection<L: Listener> {
    pub(super) io: L::Io,
    address: L::Addr,
    engine: Arc<ShortPath>,
    pub(super) connections: Connections,
    permit: OwnedSemaphorePermit,
    pub(super) drain: DrainSignal,
    /// Bytes that were received and have not been consumed.
    input: Vec<u8>,
    pub(super) clock: Clock,
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
    /// Something that hyper handles.
    Other,
    Closed,
}

/// Returns `true` for a safe method (RFC 9110, section 9.2.1). If the client of a safe request shuts down its
/// sending side, the request is aborted, as in Node.js. Any other request is processed once its body is
/// complete.
fn is_safe(method: &str) -> bool {
    method == "GET"
}

/// A request whose body may be incomplete.
struct ParsedRequest {
    request: Request<RequestBody>,
    info: HeadInfo,
    /// `Some` while the body is incomplete.
    body_sender: Option<BodySender>,
}

/// A request that the engine handles.
struct Handling {
    response: BoxFuture<Response<ResponseBody>>,
    is_safe: bool,
    keep_alive: bool,
    body_sender: Option<BodySender>,
    /// `Some` if the request asks for an upgrade.
    upgrade_slot: Option<UpgradeSlot>,
}

/// A switch to WebSocket.
pub(in crate::listen) struct Switch {
    on_upgrade: OnUpgradeFn,
    /// The head of the 101 response.
    response_head: Vec<u8>,
}

/// What becomes of a connection.
pub(in crate::listen) enum Outcome {
    Closed,
    Switch(Switch),
    /// hyper serves the connection from now on.
    Handover,
}

impl<L: Listener> Connection<L> {
    pub(in crate::listen) fn new(
        (io, address): (L::Io, L::Addr),
        permit: OwnedSemaphorePermit,
        engine: Arc<ShortPath>,
        connections: Connections,
        drain: DrainSignal,
    ) -> Self {
        let clock = Clock::new(connections.config().header_read_timeout);
        Self {
            io,
            address,
            engine,
            connections,
            permit,
            drain,
            input: Vec::new(),
            clock,
            stalled: false,
            read_closed: false,
            pipelined: None,
        }
    }

    /// Serves plain requests.
    ///
    /// Values that are only inspected are passed to functions, because local variables would enlarge the
    /// future.
    pub(in crate::listen) async fn run(&mut self) -> io::Result<Outcome> {
        let mut is_first = true;
        loop {
            let next = self.next_request(is_first).await?;
            is_first = false;
            let keeps = match next {
                Next::Request(parsed) => {
                    let Handling { response, is_safe, keep_alive, mut body_sender, upgrade_slot } =
                        self.handle(*parsed);
                    let response = self.wait_for(response, is_safe, body_sender.as_mut()).await?;
                    // A body that the engine has not read would be parsed as the next request.
                    let keep_alive =
                        keep_alive && body_sender.is_none_or(|body_sender| body_sender.is_complete());
                    if let Some(switch) = take_switch(&response, upgrade_slot) {
                        return Ok(Outcome::Switch(switch));
                    }
                    self.write_response(response, keep_alive).await?
                }
                Next::Reply { reply, is_safe, keep_alive } => {
                    let reply = self.wait_for(reply, is_safe, None).await?;
                    self.write_reply(reply, keep_alive).await?
                }
                Next::Other => return Ok(Outcome::Handover),
                Next::Closed => {
                    // With TLS, this sends a close alert.
                    let close = tokio::io::AsyncWriteExt::shutdown(&mut self.io);
                    let _ = tokio::time::timeout(LINGER_TIMEOUT, close).await;
                    return Ok(Outcome::Closed);
                }
            };
            if !keeps {
                lingering_close(&mut self.io).await;
                return Ok(Outcome::Closed);
            }
        }
    }

    /// Passes the stream to the upgrade function.
    pub(in crate::listen) fn switch(
        self,
        Switch { on_upgrade, response_head }: Switch,
    ) -> Option<SessionTask> {
        let stream = Stream::from_accepted(self.io, self.permit);
        on_upgrade(UpgradedParts { stream, answer: response_head, rest: self.input })
    }

    /// Returns what hyper needs to serve the connection.
    pub(in crate::listen) fn into_handover(self) -> Handover<L> {
        Handover {
            io: self.io,
            address: self.address,
            permit: self.permit,
            input: self.input,
            clock: self.clock,
            pipelined: self.pipelined.unwrap_or_default(),
        }
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
                        // The response to an incomplete head comes from the same place for all connections.
                        return Poll::Ready(Ok(if was_idle { Next::Closed } else { Next::Other }));
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
                let (used, next) = parse_next(received, config, &self.engine);
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
        let (used, next) = parse_next(&self.input, self.connections.config(), &self.engine);
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

    /// Passes a request to the engine.
    fn handle(&self, ParsedRequest { mut request, info, body_sender }: ParsedRequest) -> Handling {
        let upgrade_slot = self.prepare(request.extensions_mut(), info);
        let is_safe = is_safe(request.method().as_str());
        let response = (self.engine.handle)(request);
        Handling { response, is_safe, keep_alive: info.keep_alive, body_sender, upgrade_slot }
    }

    /// Waits for the response of the engine. During the wait, reads the body on demand, or detects that the
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

    /// Reads once. While the body is incomplete, waits until the engine polls for more of it, and reads the
    /// body. Otherwise reads subsequent requests, up to the size of a head, because only a read detects a
    /// disconnect. Fails if the client has disconnected.
    fn poll_client(
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

    /// Adds the extensions of a request. Returns the slot for a session that takes the stream over.
    fn prepare(&self, extensions: &mut Extensions, info: HeadInfo) -> Option<UpgradeSlot> {
        L::describe(&self.io, &self.address, extensions);
        let upgrade_slot = info.wants_upgrade.then(UpgradeSlot::default)?;
        extensions.insert(upgrade_slot.clone());
        Some(upgrade_slot)
    }
}

/// Returns the protocol switch if the engine has accepted an upgrade.
fn take_switch(response: &Response<ResponseBody>, upgrade_slot: Option<UpgradeSlot>) -> Option<Switch> {
    let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let on_upgrade = upgrade_slot.filter(|_| is_switching)?.take()?;
    let mut response_head = Vec::with_capacity(256);
    write_head(&mut response_head, response.status(), response.headers(), None);
    Some(Switch { on_upgrade, response_head })
}

/// Parses the next request if its head is complete. Returns the number of consumed bytes.
fn parse_next(bytes: &[u8], config: &ListenConfig, engine: &ShortPath) -> (usize, Option<Next>) {
    let seen = head::read(bytes, config, &engine.path, |len, parsed, info| {
        let rest = &bytes[len..];
        // The guard ensures that the cast does not truncate.
        let complete_body = (info.body <= rest.len() as u64).then(|| &rest[..info.body as usize]);
        let used = len + complete_body.map_or(0, <[u8]>::len);
        if let Some(body) = complete_body
            && !info.wants_upgrade
            && let (Some(method), Some(target)) = (parsed.method, parsed.path)
            // The target is the path of the engine, alone or with a query.
            && let query = target.get(engine.path.len() + 1..).unwrap_or_default()
            && let Some(reply) =
                (engine.shortcut)(&RequestView { method, query, headers: parsed.headers, body })
        {
            return Some((
                used,
                Next::Reply { reply, is_safe: is_safe(method), keep_alive: info.keep_alive },
            ));
        }
        let request = head::request(&bytes[..len], parsed)?;
        let (body, body_sender) = if let Some(body) = complete_body {
            (RequestBody::complete(Bytes::copy_from_slice(body)), None)
        } else {
            let (body, body_sender) = SizedBody::new(info.body);
            (RequestBody::sized(body), Some(body_sender))
        };
        let parsed = ParsedRequest { request: request.map(|()| body), info, body_sender };
        Some((used, Next::Request(Box::new(parsed))))
    });
    match seen {
        Seen::Plain((used, next)) => (used, Some(next)),
        Seen::Partial => (0, None),
        Seen::Other => (0, Some(Next::Other)),
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
