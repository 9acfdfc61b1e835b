//! The requests of a polling session, which are one parked GET and one POST with packets.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::proto::{budget::Charge, payload::Payload};

/// What distinguishes the polls of a session. All polls are the same unless requests are forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PollId {
    /// The number of the connection over which another server has forwarded the poll, or 0.
    pub(crate) via: u32,
    /// The number of the request on that connection.
    pub(crate) request: u32,
    /// The hash of the query. Clients send another timestamp with each poll, so a proxy that has lost its server has
    /// repeated a poll with the same query.
    pub(crate) query: u64,
}

/// A GET that receives packets. Dropping the value without a response rejects the request.
pub(crate) struct PollRequest {
    #[cfg_attr(not(feature = "forwarding"), expect(dead_code, reason = "all polls are the same"))]
    pub(crate) id: PollId,
    answer: oneshot::Sender<PollResponse>,
}

/// The response to a poll.
pub(crate) struct PollResponse {
    pub(crate) body: Vec<u8>,
    /// The charge of a large body to the server's budget while it is written.
    pub(crate) charge: Option<Charge>,
}

impl PollRequest {
    pub(crate) fn new(id: PollId) -> (Self, oneshot::Receiver<PollResponse>) {
        let (answer, receiver) = oneshot::channel();
        (Self { id, answer }, receiver)
    }

    /// Sends the response. Returns `Err` if the client has disconnected.
    pub(crate) fn answer(self, packets: PollResponse) -> Result<(), ()> {
        self.answer.send(packets).map_err(drop)
    }

    /// Returns `true` if the client has disconnected. Otherwise, registers the task to be woken on a
    /// disconnect.
    pub(crate) fn poll_disconnected(&mut self, cx: &mut Context<'_>) -> bool {
        self.answer.poll_closed(cx).is_ready()
    }
}

/// A POST that sends packets. Dropping the value without calling [`finish`](Self::finish) rejects the
/// request.
pub(crate) struct PostRequest {
    body: Body,
    done: oneshot::Sender<()>,
}

enum Body {
    Streaming(oneshot::Receiver<Option<Payload>>),
    /// A complete body. `body` is `None` if the text is not valid UTF-8.
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

    /// Creates a request whose body has not arrived yet.
    pub(crate) fn streaming() -> (Self, PostResponder) {
        let (body, arriving) = oneshot::channel();
        let (done, receiver) = oneshot::channel();
        (Self { body: Body::Streaming(arriving), done }, PostResponder { body, done: receiver })
    }

    /// Returns the body and the start of the next packet in the body, once the body has arrived. Returns
    /// `Err` if the client has disconnected.
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
        // If the client has disconnected, its next request reports the state of the session.
        let _ = self.done.send(());
    }
}
