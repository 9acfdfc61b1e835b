//! The body of a response.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use super::{
    MAX_FRAME,
    activity::{Exchange, Unsent},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a response of any service.
///
/// A client of HTTP/2 may leave a response unread although it reads others, and hyper waits for it without limit. The
/// body is therefore passed on in parts, which report when they have been sent.
pub(super) struct ResponseBody {
    body: UnsyncBoxBody<Bytes, BoxError>,
    exchange: Arc<Exchange>,
    is_http2: bool,
    /// The rest of a frame that is passed on in parts.
    rest: Bytes,
}

impl ResponseBody {
    pub(super) fn new<B>(body: B, exchange: Exchange, is_http2: bool) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let body = body.map_err(Into::into).boxed_unsync();
        exchange.offer(is_http2 && !body.is_end_stream());
        Self { body, exchange: Arc::new(exchange), is_http2, rest: Bytes::new() }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if !this.is_http2 {
            return Pin::new(&mut this.body).poll_frame(cx);
        }
        if this.rest.is_empty() {
            let frame = Pin::new(&mut this.body).poll_frame(cx);
            this.exchange.offer(frame.is_ready());
            match ready!(frame).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => this.rest = data,
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                None => return Poll::Ready(None),
            }
        }
        let data = this.rest.split_to(this.rest.len().min(MAX_FRAME as usize));
        let part = Unsent { data, exchange: this.exchange.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut sum = SizeHint::new();
        sum.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            sum.set_upper(upper + rest);
        }
        sum
    }
}
