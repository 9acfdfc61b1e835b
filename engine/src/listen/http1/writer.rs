//! The writer of responses.

use std::{
    error::Error,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::connection::Connection;
use crate::{
    Listener,
    http::{reply::Reply, view::list_contains},
    listen::http1::response_head::{Framing, write_head, write_reply_head},
};

/// The maximum size of a body that is written together with its head.
const MAX_INLINE_BODY: usize = 16 * 1024;
/// A capacity that suffices for most heads.
const TYPICAL_HEAD: usize = 256;

/// The properties of the request that determine how the response is written.
#[derive(Clone, Copy)]
pub(super) struct ResponseContext {
    pub(super) is_head: bool,
    pub(super) is_http11: bool,
    pub(super) keep_alive: bool,
}

impl<L: Listener, S> Connection<L, S> {
    /// Writes a response. Returns `true` if the connection stays open.
    pub(super) fn write_response<B>(
        &mut self,
        response: Response<B>,
        context: ResponseContext,
    ) -> impl Future<Output = io::Result<bool>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut head, body) = response.into_parts();
        let framing = framing(head.status, &body, context);
        let keep_alive = context.keep_alive
            && framing != Framing::UntilClose
            && !head
                .headers
                .get_all(header::CONNECTION)
                .iter()
                .any(|value| list_contains(value.as_bytes(), "close"))
            && !self.drain.is_draining();
        if !keep_alive {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if !context.is_http11 {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
        }
        let capacity = match framing {
            Framing::Length(length) if length <= MAX_INLINE_BODY as u64 => length as usize,
            _ => 0,
        };
        let mut out = Vec::with_capacity(TYPICAL_HEAD + capacity);
        write_head(&mut out, head.status, &head.headers, framing);
        // Drop the parts of the head before the future is created, so that the future does not contain them.
        async move {
            let has_body = !matches!(framing, Framing::None | Framing::Head);
            let is_whole = !has_body || self.write_body(body, framing, &mut out).await?;
            self.write(&out).await?;
            poll_fn(|cx| self.poll_flush(cx)).await?;
            Ok(keep_alive && is_whole)
        }
    }

    /// Writes a reply. Returns `true` if the connection stays open.
    pub(super) async fn write_reply(&mut self, reply: Reply, keep_alive: bool) -> io::Result<bool> {
        let Some(content) = reply.content.filter(|_| keep_alive && !self.drain.is_draining()) else {
            let context = ResponseContext { is_head: false, is_http11: true, keep_alive };
            // The future is boxed, because this path is rare and would enlarge the outer future.
            return Box::pin(self.write_response(reply.into(), context)).await;
        };
        let body = &*reply.body;
        let inline = if body.len() <= MAX_INLINE_BODY { body } else { &[] };
        let mut out = Vec::with_capacity(TYPICAL_HEAD + inline.len());
        write_reply_head(&mut out, &reply, content);
        out.extend_from_slice(inline);
        self.write(&out).await?;
        if inline.is_empty() {
            self.write(body).await?;
        }
        poll_fn(|cx| self.poll_flush(cx)).await?;
        Ok(true)
    }

    /// Writes the bytes in `out`, then the body. Leaves the last bytes in `out`, unwritten. If the body is
    /// longer than its declared length, truncates it and returns `false`.
    async fn write_body<B>(&mut self, body: B, framing: Framing, out: &mut Vec<u8>) -> io::Result<bool>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = pin!(body);
        let (mut total, mut is_whole) = (0, true);
        loop {
            let mut at = 0;
            let frame = poll_fn(|cx| {
                let frame = body.as_mut().poll_frame(cx);
                if frame.is_pending() {
                    // While the body is pending, write the bytes available so far and detect a client that
                    // disconnects.
                    ready!(self.poll_write(cx, out, &mut at))?;
                    while let Poll::Ready(seen) = self.poll_client(cx, false, None) {
                        seen?;
                    }
                }
                frame.map(|frame| frame.transpose().map_err(io::Error::other))
            })
            .await?;
            out.drain(..at);
            let Some(frame) = frame else { break };
            let Ok(mut data) = frame.into_data() else { continue };
            if let Framing::Length(length) = framing
                && let left = length - total
                && data.len() as u64 > left
            {
                tracing::debug!(length, "a body is longer than it said");
                data.truncate(left as usize);
                is_whole = false;
            }
            if data.is_empty() && is_whole {
                continue;
            }
            total += data.len() as u64;
            if framing == Framing::Chunked {
                out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            }
            if out.len() + data.len() > MAX_INLINE_BODY {
                self.write(out).await?;
                out.clear();
                self.write(&data).await?;
            } else {
                out.extend_from_slice(&data);
            }
            if framing == Framing::Chunked {
                out.extend_from_slice(b"\r\n");
            }
            if !is_whole {
                break;
            }
        }
        if framing == Framing::Chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        if let Framing::Length(length) = framing
            && length != total
        {
            return Err(io::Error::other("a body is shorter than it said"));
        }
        Ok(is_whole)
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut at = 0;
        poll_fn(|cx| self.poll_write(cx, bytes, &mut at)).await
    }

    /// Writes the bytes from `at` on. Fails if the client reads nothing for the write timeout.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8], at: &mut usize) -> Poll<io::Result<()>> {
        while *at < bytes.len() {
            match Pin::new(&mut self.io).poll_write(cx, &bytes[*at..])? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => {
                    *at += written;
                    self.stalled = false;
                }
                Poll::Pending => return self.poll_stalled(cx),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Flushes data that the stream buffers, for example with TLS.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Pending => self.poll_stalled(cx),
            flushed @ Poll::Ready(_) => {
                self.stalled = false;
                flushed
            }
        }
    }

    /// Fails when the client has read nothing for the write timeout.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.stalled, true) {
            self.clock.set(self.connections.config().write_timeout);
        }
        self.clock.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Returns the framing of a response body.
fn framing(status: StatusCode, body: &impl Body, context: ResponseContext) -> Framing {
    if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Framing::None;
    }
    if context.is_head {
        return Framing::Head;
    }
    match body.size_hint().exact() {
        Some(length) => Framing::Length(length),
        None if context.is_http11 => Framing::Chunked,
        None => Framing::UntilClose,
    }
}
