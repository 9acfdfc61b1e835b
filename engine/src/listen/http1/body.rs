//! The body of a request, and the sending side of the body, which the connection holds.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::{
    chunked::{ChunkPart, Chunked, Malformed},
    head::Length,
};

/// The body of a request to [`serve`](crate::serve). A body that has not arrived with the head is read on
/// demand.
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
    /// A body that is received in parts, with the number of remaining bytes if it is known.
    Streaming(Arc<Mutex<Pipe>>, Option<u64>),
}

/// The channel between a connection and a body. It holds at most one part. The connection reads the next part
/// when the service polls for it.
#[derive(Default)]
struct Pipe {
    part: Option<Bytes>,
    end: Option<Result<(), Malformed>>,
    wanted: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

impl RequestBody {
    pub(super) fn complete(bytes: Bytes) -> Self {
        Self(Kind::Complete(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// Creates a body that is received in parts, and the sending side of the body.
    pub(super) fn streaming(length: Length) -> (Self, BodySender) {
        let pipe = Arc::new(Mutex::new(Pipe::default()));
        let (known, decoder) = match length {
            Length::Known(length) => (Some(length), BodyDecoder::Sized(length)),
            Length::Chunked => (None, BodyDecoder::Chunked(Chunked::new())),
        };
        (Self(Kind::Streaming(pipe.clone(), known)), BodySender { pipe, decoder })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let (pipe, left) = match &mut self.0 {
            Kind::Complete(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Streaming(pipe, left) => (pipe, left),
        };
        let pipe = &mut *pipe.lock();
        if let Some(part) = pipe.part.take() {
            if let Some(left) = left {
                *left = left.saturating_sub(part.len() as u64);
            }
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match pipe.end {
            Some(Ok(())) => return Poll::Ready(None),
            Some(Err(Malformed)) => {
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunk"))));
            }
            None => {}
        }
        pipe.wanted = true;
        pipe.reader = Some(cx.waker().clone());
        if let Some(connection) = pipe.connection.take() {
            connection.wake();
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Complete(bytes) => bytes.is_none(),
            Kind::Streaming(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Complete(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Streaming(_, Some(left)) => SizeHint::with_exact(*left),
            Kind::Streaming(_, None) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("size", &self.size_hint()).finish()
    }
}

/// The sending side of a body, held by the connection.
pub(super) struct BodySender {
    pipe: Arc<Mutex<Pipe>>,
    decoder: BodyDecoder,
}

enum BodyDecoder {
    /// A body of known length, with the number of remaining bytes.
    Sized(u64),
    Chunked(Chunked),
}

impl BodySender {
    /// Returns `true` if the whole body has been received and is well-formed.
    pub(super) fn is_complete(&self) -> bool {
        self.pipe.lock().end == Some(Ok(()))
    }

    /// Completes when the service polls for more of the body.
    pub(super) fn poll_demand(&self, cx: &mut Context<'_>) -> Poll<()> {
        let pipe = &mut *self.pipe.lock();
        if pipe.wanted && pipe.end.is_none() {
            return Poll::Ready(());
        }
        pipe.connection = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Consumes bytes of the body from `input`. Returns the number of consumed bytes.
    pub(super) fn take(&mut self, input: &[u8]) -> usize {
        let (used, part, end) = match &mut self.decoder {
            BodyDecoder::Sized(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= len as u64;
                (len, Bytes::copy_from_slice(&input[..len]), (*left == 0).then_some(Ok(())))
            }
            BodyDecoder::Chunked(chunked) => chunked.join(input),
        };
        let pipe = &mut *self.pipe.lock();
        pipe.end = end;
        pipe.part = Some(part).filter(|part| !part.is_empty());
        if pipe.part.is_some() || pipe.end.is_some() {
            pipe.wanted = false;
            if let Some(reader) = pipe.reader.take() {
                reader.wake();
            }
        }
        used
    }
}

impl Chunked {
    /// Joins all data in the input. Returns the number of consumed bytes, the data, and the result if the
    /// body is complete or malformed.
    fn join(&mut self, input: &[u8]) -> (usize, Bytes, Option<Result<(), Malformed>>) {
        let (mut at, mut joined) = (0, Vec::new());
        loop {
            match self.next(input, at) {
                Ok(ChunkPart::Data(range)) => {
                    at = range.end;
                    joined.extend_from_slice(&input[range]);
                }
                Ok(ChunkPart::End(end)) => return (end, joined.into(), Some(Ok(()))),
                Ok(ChunkPart::More) => return (input.len(), joined.into(), None),
                Err(Malformed) => return (input.len(), joined.into(), Some(Err(Malformed))),
            }
        }
    }
}
