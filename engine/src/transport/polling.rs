//! The requests of a polling session: one GET that waits, one POST that brings packets.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::proto::{budget::Charge, payload::Payload};

/// A GET that takes what the server sends. Dropped without an answer, it is refused.
pub(crate) struct PollRequest {
    answer: oneshot::Sender<Packets>,
}

/// The answer to a poll.
pub(crate) struct Packets {
    pub(crate) body: Vec<u8>,
    /// The place of a large body in the budget of the server, while it is written.
    pub(crate) charge: Option<Charge>,
}

impl PollRequest {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Packets>) {
        let (answer, receiver) = oneshot::channel();
        (Self { answer }, receiver)
    }

    /// Answers, unless the client has gone.
    pub(crate) fn answer(self, packets: Packets) -> Result<(), ()> {
        self.answer.send(packets).map_err(drop)
    }

    /// Whether the client has gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        self.answer.poll_closed(cx).is_ready()
    }
}

/// A POST that brings packets. Dropped without an answer, it is refused.
pub(crate) struct PostRequest {
    body: Body,
    done: oneshot::Sender<()>,
}

enum Body {
    Arriving(oneshot::Receiver<Option<Payload>>),
    /// `None` if it is not UTF-8.
    Here {
        body: Option<Payload>,
        /// Where the next packet starts.
        at: usize,
    },
}

/// The side of a POST that the request keeps.
pub(crate) struct PostTicket {
    pub(crate) body: oneshot::Sender<Option<Payload>>,
    pub(crate) done: oneshot::Receiver<()>,
}

impl PostRequest {
    /// One whose body is all here.
    pub(crate) fn here(body: Option<Payload>) -> (Self, oneshot::Receiver<()>) {
        let (done, receiver) = oneshot::channel();
        (Self { body: Body::Here { body, at: 0 }, done }, receiver)
    }

    /// One whose body is still to come.
    pub(crate) fn arriving() -> (Self, PostTicket) {
        let (body, arriving) = oneshot::channel();
        let (done, receiver) = oneshot::channel();
        (Self { body: Body::Arriving(arriving), done }, PostTicket { body, done: receiver })
    }

    /// The body and the start of its next packet, once it is here. `Err` if the client has gone.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Option<&Payload>, &mut usize), ()>> {
        if let Body::Arriving(arriving) = &mut self.body {
            match Pin::new(arriving).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Ready(Ok(body)) => self.body = Body::Here { body, at: 0 },
            }
        }
        match &mut self.body {
            Body::Arriving(_) => Poll::Pending,
            Body::Here { body, at } => Poll::Ready(Ok((body.as_ref(), at))),
        }
    }

    /// Tells the client that all packets have been received.
    pub(crate) fn finish(self) {
        // A client that has gone meanwhile finds out by its next request.
        let _ = self.done.send(());
    }
}
