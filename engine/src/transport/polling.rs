//! The requests of a polling session: one parked GET, and one POST with packets.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::proto::{budget::Charge, payload::Payload};

/// A GET that receives packets. The request is refused if this is dropped unanswered.
pub(crate) struct PollRequest {
    answer: oneshot::Sender<PollResponse>,
}

/// The response to a poll.
pub(crate) struct PollResponse {
    pub(crate) body: Vec<u8>,
    /// The charge of a large body to the server's budget while it is written.
    pub(crate) charge: Option<Charge>,
}

impl PollRequest {
    pub(crate) fn new() -> (Self, oneshot::Receiver<PollResponse>) {
        let (answer, receiver) = oneshot::channel();
        (Self { answer }, receiver)
    }

    /// Sends the response. `Err` if the client has disconnected.
    pub(crate) fn answer(self, packets: PollResponse) -> Result<(), ()> {
        self.answer.send(packets).map_err(drop)
    }

    /// Returns `true` if the client has disconnected; otherwise registers the task to be woken when it does.
    pub(crate) fn poll_disconnected(&mut self, cx: &mut Context<'_>) -> bool {
        self.answer.poll_closed(cx).is_ready()
    }
}

/// A POST that sends packets. The request is refused if this is dropped unfinished.
pub(crate) struct PostRequest {
    body: Body,
    done: oneshot::Sender<()>,
}

enum Body {
    Streaming(oneshot::Receiver<Option<Payload>>),
    /// A complete body; `None` if it is not UTF-8.
    Complete {
        body: Option<Payload>,
        /// The start of the next packet.
        at: usize,
    },
}

/// The HTTP side of a [`PostRequest`].
pub(crate) struct PostResponder {
    pub(crate) body: oneshot::Sender<Option<Payload>>,
    pub(crate) done: oneshot::Receiver<()>,
}

impl PostRequest {
    /// Creates a request whose body is complete.
    pub(crate) fn complete(body: Option<Payload>) -> (Self, oneshot::Receiver<()>) {
        let (done, receiver) = oneshot::channel();
        (Self { body: Body::Complete { body, at: 0 }, done }, receiver)
    }

    /// Creates a request whose body has yet to arrive.
    pub(crate) fn streaming() -> (Self, PostResponder) {
        let (body, arriving) = oneshot::channel();
        let (done, receiver) = oneshot::channel();
        (Self { body: Body::Streaming(arriving), done }, PostResponder { body, done: receiver })
    }

    /// Returns the body and the start of its next packet, once it has arrived. `Err` if the client has
    /// disconnected.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Option<&Payload>, &mut usize), ()>> {
        if let Body::Streaming(arriving) = &mut self.body {
            match Pin::new(arriving).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Ready(Ok(body)) => self.body = Body::Complete { body, at: 0 },
            }
        }
        match &mut self.body {
            Body::Streaming(_) => Poll::Pending,
            Body::Complete { body, at } => Poll::Ready(Ok((body.as_ref(), at))),
        }
    }

    /// Responds that all packets have been received.
    pub(crate) fn finish(self) {
        // A client that has disconnected learns it from its next request.
        let _ = self.done.send(());
    }
}
