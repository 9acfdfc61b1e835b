//! The way of an answer to the client.

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

use super::{
    connection::Connection,
    response::{Framing, write_head, write_reply_head},
};
use crate::{
    Listener,
    http::{reply::Reply, request::lists},
};

/// Bodies up to this size leave in one piece with their head.
const SMALL: usize = 16 * 1024;
/// What most heads take at most.
const HEAD: usize = 256;

/// What an answer must know of its request.
#[derive(Clone, Copy)]
pub(super) struct ResponseContext {
    pub(super) is_head: bool,
    pub(super) is_current: bool,
    pub(super) keep_alive: bool,
}

impl<L: Listener, S> Connection<L, S> {
    /// Writes an answer; says whether the connection goes on.
    pub(super) fn answer<B>(
        &mut self,
        response: Response<B>,
        asked: ResponseContext,
    ) -> impl Future<Output = io::Result<bool>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut head, body) = response.into_parts();
        let framing = framing(head.status, &body, asked);
        let keep_alive = asked.keep_alive
            && framing != Framing::UntilClose
            && !head.headers.get_all(header::CONNECTION).iter().any(|value| lists(value.as_bytes(), "close"))
            && !self.drain.has_begun();
        if !keep_alive {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if !asked.is_current {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
        }
        let room = match framing {
            Framing::Length(length) if length <= SMALL as u64 => length as usize,
            _ => 0,
        };
        let mut out = Vec::with_capacity(HEAD + room);
        write_head(&mut out, head.status, &head.headers, framing);
        // What made the head takes no room while it is written.
        async move {
            let has_body = !matches!(framing, Framing::None | Framing::Head);
            let is_whole = !has_body || self.write_body(body, framing, &mut out).await?;
            self.write(&out).await?;
            poll_fn(|cx| self.poll_flush(cx)).await?;
            Ok(keep_alive && is_whole)
        }
    }

    /// Writes a reply; says whether the connection goes on.
    pub(super) async fn reply(&mut self, reply: Reply, keep_alive: bool) -> io::Result<bool> {
        let Some(content) = reply.content.filter(|_| keep_alive && !self.drain.has_begun()) else {
            let asked = ResponseContext { is_head: false, is_current: true, keep_alive };
            // In a box, because few come here, and all would have its room.
            return Box::pin(self.answer(reply.into(), asked)).await;
        };
        let body = &*reply.body;
        let here = if body.len() <= SMALL { body } else { &[] };
        let mut out = Vec::with_capacity(HEAD + here.len());
        write_reply_head(&mut out, &reply, content);
        out.extend_from_slice(here);
        self.write(&out).await?;
        if here.is_empty() {
            self.write(body).await?;
        }
        poll_fn(|cx| self.poll_flush(cx)).await?;
        Ok(true)
    }

    /// Writes a body behind what is in `out`, where the last of it stays. What is beyond the length that it said is left
    /// out: then it is not whole.
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
                    // What is there leaves meanwhile; and if the client goes, nobody waits for the rest.
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
            if out.len() + data.len() > SMALL {
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

    /// Writes the bytes from `at` on. A client that takes none of them for too long is given up.
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

    /// Flushes what the stream may hold back, as TLS does.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Pending => self.poll_stalled(cx),
            flushed @ Poll::Ready(_) => {
                self.stalled = false;
                flushed
            }
        }
    }

    /// An error once the client has taken nothing for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.stalled, true) {
            self.clock.set(self.connections.config().write_timeout);
        }
        self.clock.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// How the end of a body is told to the client.
fn framing(status: StatusCode, body: &impl Body, asked: ResponseContext) -> Framing {
    if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Framing::None;
    }
    if asked.is_head {
        return Framing::Head;
    }
    match body.size_hint().exact() {
        Some(length) => Framing::Length(length),
        None if asked.is_current => Framing::Chunked,
        None => Framing::UntilClose,
    }
}
