//! One connection of the accept loop: its requests, one after the other.

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
    answer::ResponseContext,
    body::{BodySender, RequestBody},
    clock::Clock,
    head::{self, HeadError, HeadInfo, Length},
    response::{Framing, write_head},
};
use crate::{
    BoxFuture, ListenConfig, Listener, RequestError,
    engine::service::Shortcut,
    http::{
        reply::{Reply, refusal},
        request::RequestView,
    },
    listen::{HttpService, connections::Connections, drain::DrainSignal},
    session::admission::Pipelined,
    transport::{
        stream::Stream,
        thread_buffers::with_read_buffer,
        upgrade::{OnUpgradeFn, SessionTask, UpgradeSlot, UpgradedParts},
    },
};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How long a client may take to read the last answer before the connection is closed.
const PARTING: Duration = Duration::from_secs(1);

/// A connection, from its accept to its end or until it becomes something else.
pub(in crate::listen) struct Connection<L: Listener, S> {
    pub(super) io: L::Io,
    address: L::Addr,
    service: S,
    shortcut: Option<Shortcut>,
    pub(super) connections: Connections,
    place: OwnedSemaphorePermit,
    pub(super) drain: DrainSignal,
    /// Bytes that came and are not used yet.
    input: Vec<u8>,
    pub(super) clock: Clock,
    /// What is still to be written of the leave to send a body.
    interim: &'static [u8],
    /// Whether the client has not taken what was last offered.
    pub(super) stalled: bool,
    /// Whether the client has ended its side.
    has_ended: bool,
    /// If requests came ahead of the answers to those in front of them.
    pipelined: Option<Pipelined>,
}

/// What comes next on a connection.
enum Next {
    Request(Box<ParsedRequest>),
    /// A request that needed not become one.
    Replied {
        reply: BoxFuture<Reply>,
        is_safe: bool,
        keep_alive: bool,
    },
    Refused(HeadError),
    Over,
}

/// Whether a request only asks for something (RFC 9110, section 9.2.1). If the client of one ends its side of the
/// connection, it has lost interest, as in Node; any other request is answered all the same, once it is complete.
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// A request whose body may be still to come.
struct ParsedRequest {
    request: Request<RequestBody>,
    said: HeadInfo,
    /// Where the rest of the body is to be put.
    body_sender: Option<BodySender>,
}

/// A request on its way to the service.
struct Dispatched {
    request: Request<RequestBody>,
    body_sender: Option<BodySender>,
    asked: ResponseContext,
    takeover: Option<UpgradeSlot>,
}

/// The change to another protocol.
pub(in crate::listen) struct Switch {
    then: OnUpgradeFn,
    /// The answer that allows it.
    answer: Vec<u8>,
}

/// Why no request follows.
enum End {
    /// What came is none.
    Refused(HeadError),
    /// The last answer said so.
    Answered,
    /// None came.
    Over,
}

impl<L: Listener, S> Connection<L, S> {
    pub(in crate::listen) fn new(
        (io, address): (L::Io, L::Addr),
        place: OwnedSemaphorePermit,
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
            place,
            drain,
            input: Vec::new(),
            clock,
            interim: &[],
            stalled: false,
            has_ended: false,
            pipelined: None,
        }
    }

    /// Answers requests until the connection ends, or until it is to become something else.
    ///
    /// What is looked at by reference is handed to functions: here it would keep its room in the future.
    pub(in crate::listen) async fn run(&mut self) -> io::Result<Option<Switch>>
    where
        S: HttpService,
    {
        let mut is_first = true;
        let end = loop {
            let next = self.request(is_first).await?;
            is_first = false;
            let begun = match next {
                Next::Request(begun) => begun,
                Next::Replied { reply, is_safe, keep_alive } => {
                    let reply = self.wait_for(reply, is_safe, None).await?;
                    if self.reply(reply, keep_alive).await? {
                        continue;
                    }
                    break End::Answered;
                }
                Next::Refused(error) => break End::Refused(error),
                Next::Over => break End::Over,
            };
            let Ok(()) = poll_fn(|cx| self.service.poll_ready(cx)).await;
            let Dispatched { request, mut body_sender, mut asked, takeover } = self.ask(*begun);
            let is_safe = is_safe(request.method().as_str());
            let response = self.service.call(request);
            let Ok(response) = self.wait_for(response, is_safe, body_sender.as_mut()).await?;
            // What nobody has read is no request.
            asked.keep_alive &= body_sender.is_none_or(|body_sender| body_sender.is_complete());
            let response = match claim(response, takeover) {
                Ok(switch) => return Ok(Some(switch)),
                Err(response) => response,
            };
            if !self.answer(response, asked).await? {
                break End::Answered;
            }
        };
        self.end(end).await?;
        Ok(None)
    }

    /// Lets the stream become something else.
    pub(in crate::listen) fn switch(self, Switch { then, answer }: Switch) -> Option<SessionTask> {
        then(UpgradedParts { stream: Stream::accepted(self.io, self.place), answer, rest: self.input })
    }

    /// The next request.
    async fn request(&mut self, is_first: bool) -> io::Result<Next> {
        // It may have been sent before the last answer was there.
        if !self.input.is_empty()
            && let Some(mut next) = self.begin_input()
        {
            if let Next::Request(begun) = &mut next {
                begun.request.extensions_mut().insert(self.pipelined.get_or_insert_default().clone());
            }
            return Ok(next);
        }
        let ListenConfig { header_read_timeout, keep_alive_timeout, .. } = *self.connections.config();
        if !is_first {
            let begun = !self.input.is_empty();
            self.clock.set(if begun { header_read_timeout } else { keep_alive_timeout });
        }
        poll_fn(|cx| {
            loop {
                if self.input.is_empty() && self.drain.has_begun() {
                    return Poll::Ready(Ok(Next::Over));
                }
                let was_idle = self.input.is_empty();
                match self.poll_begin(cx)? {
                    Poll::Ready(None) => {}
                    Poll::Ready(Some(next)) => return Poll::Ready(Ok(next)),
                    Poll::Pending => {
                        ready!(self.clock.poll(cx));
                        let next = if was_idle { Next::Over } else { Next::Refused(HeadError::TooSlow) };
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

    /// Reads once; `None` if what came is not all of a head.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Next>>> {
        with_read_buffer(|scratch| {
            let fresh = ready!(poll_read(&mut self.io, cx, scratch))?;
            if fresh.is_empty() {
                return Poll::Ready(Ok(Some(Next::Over)));
            }
            let config = self.connections.config();
            if self.input.is_empty() {
                let (used, next) = begin(fresh, config, self.shortcut.as_ref());
                self.input.extend_from_slice(&fresh[used..]);
                return Poll::Ready(Ok(next));
            }
            let complete = fresh.contains(&b'\n') || self.input.len() + fresh.len() >= config.max_head;
            self.input.extend_from_slice(fresh);
            // A head that comes in single bytes is not parsed with each of them.
            Poll::Ready(Ok(if complete { self.begin_input() } else { None }))
        })
    }

    /// A request from bytes that came before.
    fn begin_input(&mut self) -> Option<Next> {
        let (used, next) = begin(&self.input, self.connections.config(), self.shortcut.as_ref());
        self.use_input(used);
        next
    }

    fn use_input(&mut self, used: usize) {
        if used == self.input.len() {
            self.input = Vec::new();
        } else {
            self.input.drain(..used);
        }
    }

    /// Waits for the answer of the service, and meanwhile reads the body if it asks for it, or sees the client go.
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

    /// Reads once: the body, if somebody wants it, or the next requests, up to the size of a head, for only a read tells
    /// whether the client is still there. An error if it has gone.
    pub(super) fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
        is_safe: bool,
        body_sender: Option<&mut BodySender>,
    ) -> Poll<io::Result<()>> {
        let mut body_sender = body_sender.filter(|body_sender| !body_sender.is_complete());
        let mut room = usize::MAX;
        if let Some(body_sender) = &mut body_sender {
            ready!(body_sender.poll_wanted(cx));
            if !self.input.is_empty() {
                let used = body_sender.take(&self.input);
                self.use_input(used);
                return Poll::Ready(Ok(()));
            }
            while !self.interim.is_empty() {
                let written = ready!(Pin::new(&mut self.io).poll_write(cx, self.interim))?;
                self.interim = &self.interim[written..];
            }
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        } else if self.has_ended {
            return if is_safe {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            } else {
                Poll::Pending
            };
        } else {
            room = self.connections.config().max_head.saturating_sub(self.input.len());
            if room == 0 {
                return Poll::Pending;
            }
        }
        with_read_buffer(|scratch| {
            let room = room.min(scratch.len());
            let fresh = ready!(poll_read(&mut self.io, cx, &mut scratch[..room]))?;
            if fresh.is_empty() {
                self.has_ended = true;
                let is_complete = body_sender.is_none();
                return Poll::Ready(if is_complete {
                    Ok(())
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                });
            }
            let used = body_sender.map_or(0, |body_sender| body_sender.take(fresh));
            self.input.extend_from_slice(&fresh[used..]);
            Poll::Ready(Ok(()))
        })
    }

    /// Makes a request for the service.
    fn ask(&mut self, ParsedRequest { mut request, said, body_sender }: ParsedRequest) -> Dispatched {
        let asked = ResponseContext {
            is_head: request.method() == Method::HEAD,
            is_current: request.version() == Version::HTTP_11,
            keep_alive: said.keep_alive,
        };
        self.interim = if said.expects_continue { CONTINUE } else { &[] };
        L::describe(&self.address, request.extensions_mut());
        let takeover = said.asks_upgrade.then(UpgradeSlot::default);
        if let Some(takeover) = &takeover {
            request.extensions_mut().insert(takeover.clone());
        }
        Dispatched { request, body_sender, asked, takeover }
    }

    /// Ends the stream in the way of its end.
    async fn end(&mut self, end: End) -> io::Result<()> {
        match end {
            End::Over => {
                // TLS says so, which may take a write.
                let _ = tokio::time::timeout(PARTING, self.io.shutdown()).await;
                return Ok(());
            }
            End::Refused(error) => {
                let asked = ResponseContext { is_head: false, is_current: true, keep_alive: false };
                // In a box, because few come here, and all would have its room.
                Box::pin(self.answer(refused(error), asked)).await?;
            }
            End::Answered => {}
        }
        lingering_close(&mut self.io).await;
        Ok(())
    }
}

/// What is to be done with the stream behind the answer, if the service has said so; the answer otherwise.
fn claim<B>(response: Response<B>, takeover: Option<UpgradeSlot>) -> Result<Switch, Response<B>> {
    let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let Some(then) = takeover.filter(|_| is_switching).and_then(|takeover| takeover.take()) else {
        return Err(response);
    };
    let mut answer = Vec::with_capacity(256);
    write_head(&mut answer, response.status(), response.headers(), Framing::None);
    Ok(Switch { then, answer })
}

/// The answer to what is no request.
fn refused(error: HeadError) -> Response<Full<Bytes>> {
    tracing::debug!(?error, "request refused");
    let message = match error {
        HeadError::Malformed(_) => "Bad request",
        HeadError::TooLarge => "Request header fields too large",
        HeadError::TooSlow => "Request timeout",
    };
    refusal(error.status(), RequestError::BadRequest.code(), message)
}

/// Begins with the next request, if all of its head is there; says how many bytes that took.
fn begin(bytes: &[u8], config: &ListenConfig, shortcut: Option<&Shortcut>) -> (usize, Option<Next>) {
    let begun = head::read(bytes, config.max_head, config.max_headers, |len, parsed| {
        let said = HeadInfo::of(parsed)?;
        let here = &bytes[len..];
        let here = match said.body {
            // It fits in what is here.
            Length::Known(length) if length <= here.len() as u64 => Some(&here[..length as usize]),
            _ => None,
        };
        let used = len + here.map_or(0, <[u8]>::len);
        if let Some(body) = here
            && let Some(shortcut) = shortcut
            && !said.asks_upgrade
            && head::is_current(parsed)
            // In what is longer, there may be something that is too long for `http`.
            && len < usize::from(u16::MAX)
            && let (Some(method), Some(target)) = (parsed.method, parsed.path)
            && let Some(reply) = shortcut(&RequestView { method, target, headers: parsed.headers, body })
        {
            return Ok((
                used,
                Next::Replied { reply, is_safe: is_safe(method), keep_alive: said.keep_alive },
            ));
        }
        let request = head::request(&bytes[..len], parsed)?;
        let (body, body_sender) = if let Some(body) = here {
            (RequestBody::here(Bytes::copy_from_slice(body)), None)
        } else {
            let (body, body_sender) = RequestBody::arriving(said.body);
            (body, Some(body_sender))
        };
        let begun = ParsedRequest { request: request.map(|()| body), said, body_sender };
        Ok((used, Next::Request(Box::new(begun))))
    });
    match begun {
        Ok(Some((used, next))) => (used, Some(next)),
        Ok(None) => (0, None),
        Err(error) => (0, Some(Next::Refused(error))),
    }
}

/// Reads once, and lends out what came.
fn poll_read<'a>(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    scratch: &'a mut [u8],
) -> Poll<io::Result<&'a [u8]>> {
    let mut buffer = ReadBuf::new(scratch);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    let len = buffer.filled().len();
    Poll::Ready(Ok(&scratch[..len]))
}

/// Ends our side of a stream, and reads what the client still sends until it ends its own: a close with bytes unread
/// would be a reset, which may overtake the answer. However much that is: a client that sends a body which is too large
/// may have most of it on its way.
pub(in crate::listen) async fn lingering_close(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let parted = async {
        io.shutdown().await?;
        tokio::io::copy(&mut io, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(PARTING, parted).await;
}
