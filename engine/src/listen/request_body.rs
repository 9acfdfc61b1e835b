//! The body of a request.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{hyper_server::incoming_body::IncomingBody, short_path::body::SizedBody};

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
    Incoming(IncomingBody),
}

impl RequestBody {
    pub(super) fn complete(bytes: Bytes) -> Self {
        Self(Kind::Complete(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    pub(super) fn sized(body: SizedBody) -> Self {
        Self(Kind::Sized(body))
    }

    pub(super) fn incoming(body: IncomingBody) -> Self {
        Self(Kind::Incoming(body))
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
            Kind::Incoming(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Complete(bytes) => bytes.is_none(),
            Kind::Sized(_) => false,
            Kind::Incoming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Complete(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Sized(body) => SizeHint::with_exact(body.left()),
            Kind::Incoming(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("size", &self.size_hint()).finish()
    }
}
