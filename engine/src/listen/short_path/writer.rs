//! The writer of responses.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use tokio::io::AsyncWrite;

use super::{
    connection::Connection,
    response_head::{write_head, write_reply_head},
};
use crate::{
    Listener, ResponseBody,
    http::{reply::Reply, view::list_contains},
};

/// The maximum size of a body that is written together with its head.
const MAX_INLINE_BODY: usize = 16 * 1024;
/// A capacity that suffices for most heads.
const TYPICAL_HEAD: usize = 256;

impl<L: Listener> Connection<L> {
    /// Writes a response. Returns `true` if the connection stays open.
    pub(super) fn write_response(
        &mut self,
        response: Response<ResponseBody>,
        keep_alive: bool,
    ) -> impl Future<Output = io::Result<bool>> {
        let (mut head, body) = response.into_parts();
        let body = body.into_bytes();
        let connection = head.headers.get_all(header::CONNECTION);
        let keep_alive = keep_alive
            && !connection.iter().any(|value| list_contains(value.as_bytes(), "close"))
            && !self.drain.is_draining();
        if !keep_alive {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let inline = if body.len() <= MAX_INLINE_BODY { &*body } else { &[] };
        let mut out = Vec::with_capacity(TYPICAL_HEAD + inline.len());
        write_head(&mut out, head.status, &head.headers, Some(body.len()));
        out.extend_from_slice(inline);
        let rest = if inline.is_empty() { body } else { Bytes::new() };
        // Drop the parts of the head before the future is created, so that the future does not contain them.
        async move {
            self.write(&out, &rest).await?;
            Ok(keep_alive)
        }
    }

    /// Writes a reply. Returns `true` if the connection stays open.
    pub(super) async fn write_reply(&mut self, reply: Reply, keep_alive: bool) -> io::Result<bool> {
        let Some(content) = reply.content.filter(|_| keep_alive && !self.drain.is_draining()) else {
            // The future is boxed, because this path is rare and would enlarge the outer future.
            return Box::pin(self.write_response(reply.into(), keep_alive)).await;
        };
        let body = &*reply.body;
        let inline = if body.len() <= MAX_INLINE_BODY { body } else { &[] };
        let mut out = Vec::with_capacity(TYPICAL_HEAD + inline.len());
        write_reply_head(&mut out, &reply, content);
        out.extend_from_slice(inline);
        self.write(&out, if inline.is_empty() { body } else { &[] }).await?;
        Ok(true)
    }

    async fn write(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut at = (0, 0);
        poll_fn(|cx| {
            ready!(self.poll_write(cx, head, &mut at.0))?;
            ready!(self.poll_write(cx, body, &mut at.1))?;
            self.poll_flush(cx)
        })
        .await
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
