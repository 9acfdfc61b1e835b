//! The body of a request.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{hyper_server::activity::Reading, short_path::body::SizedBody};

/// The body of a request to [`serve`](crate::serve). A body that has not arrived with the head is read on
/// demand. Trailers are passed on.
///
/// # Examples
///
/// A service that echoes request bodies:
///
/// ```
/// use engineio::RequestBody;
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
///
/// async fn echo(request: Request<RequestBody>) -> std::io::Result<Response<Vec<u8>>> {
///     Ok(Response::new(request.into_body().collect().await?.to_bytes().into()))
/// }
/// ```
pub struct RequestBody(Kind);

enum Kind {
    /// A body that arrived with the head. `None` once it has been read.
    Complete(Option<Bytes>),
    /// A body of the short path that has not arrived completely.
    Sized(SizedBody),
    /// A body from hyper. `Some` until it has been read.
    Incoming(Incoming, Option<Reading>),
}

impl RequestBody {
    pub(super) fn complete(bytes: Bytes) -> Self {
        Self(Kind::Complete(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    pub(super) fn sized(body: SizedBody) -> Self {
        Self(Kind::Sized(body))
    }

    /// Wraps a body from hyper. `reading` is dropped when the body has been read.
    pub(super) fn incoming(body: Incoming, reading: Reading) -> Self {
        let reading = Some(reading).filter(|_| !body.is_end_stream());
        Self(Kind::Incoming(body, reading))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.0 {
            Kind::Complete(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Sized(body) => body.poll_frame(cx),
            Kind::Incoming(body, reading) => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                if body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
                    *reading = None;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(io_error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Complete(bytes) => bytes.is_none(),
            Kind::Sized(_) => false,
            Kind::Incoming(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Complete(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Sized(body) => SizeHint::with_exact(body.left()),
            Kind::Incoming(body, _) => body.size_hint(),
        }
    }
}

/// Converts an error of hyper, which is not a type of the public API.
fn io_error(error: hyper::Error) -> io::Error {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let kind = cause.map_or(io::ErrorKind::Other, io::Error::kind);
    io::Error::new(kind, error)
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("size", &self.size_hint()).finish()
    }
}
