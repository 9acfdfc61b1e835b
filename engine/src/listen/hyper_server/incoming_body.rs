//! The body of a request from hyper.

use std::{
    error::Error,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::activity::Reading;

/// The maximum number of parts of a body that are discarded so that its connection can be kept.
const MAX_PARTS: usize = 16;

/// A body from hyper.
pub(in crate::listen) struct IncomingBody {
    /// `None` once the body has been read.
    unread: Option<(Incoming, Reading)>,
    leftover: Leftover,
}

impl IncomingBody {
    /// Wraps a body from hyper. `reading` is dropped when the body has been read. If the service drops the body
    /// before its end, the rest is put into `leftover`.
    pub(super) fn new(body: Incoming, reading: Reading, leftover: Leftover) -> Self {
        let is_over = body.is_end_stream();
        Self { unread: (!is_over).then_some((body, reading)), leftover }
    }

    pub(in crate::listen) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some((body, _)) = &mut self.unread else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            self.unread = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(io_error)))
    }

    pub(in crate::listen) fn is_end_stream(&self) -> bool {
        self.unread.is_none()
    }

    pub(in crate::listen) fn size_hint(&self) -> SizeHint {
        self.unread.as_ref().map_or(SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        if self.unread.is_some() {
            *self.leftover.0.lock() = self.unread.take();
        }
    }
}

/// Converts an error of hyper, which is not a type of the public API.
fn io_error(error: hyper::Error) -> io::Error {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let kind = cause.map_or(io::ErrorKind::Other, io::Error::kind);
    io::Error::new(kind, error)
}

/// The rest of a body that the service has dropped before its end.
#[derive(Clone, Default)]
pub(super) struct Leftover(Arc<Mutex<Option<(Incoming, Reading)>>>);

impl Leftover {
    pub(super) fn is_some(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Discards the rest of the body if it has arrived. Returns `true` if the next request can be read.
    pub(super) async fn discard(&self) -> bool {
        let Some((mut body, _reading)) = self.0.lock().take() else { return true };
        let (mut parts, mut has_waited) = (0, false);
        poll_fn(|cx| {
            while parts < MAX_PARTS {
                let frame = Pin::new(&mut body).poll_frame(cx);
                if frame.is_pending() && !has_waited {
                    // hyper reads a part of the body when it is polled again.
                    has_waited = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match frame {
                    Poll::Ready(Some(Ok(_))) => (parts, has_waited) = (parts + 1, false),
                    end => return Poll::Ready(matches!(end, Poll::Ready(None))),
                }
            }
            Poll::Ready(false)
        })
        .await
    }
}
