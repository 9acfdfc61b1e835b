//! The acknowledgements of a broadcast: one id for all recipients, one outcome for each.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use engineio::Sid;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::{
    ack::AckArgs,
    error::{AckError, EmitError},
    proto::args::FromArgs,
    socket::AnySocket,
};

/// What became of the acknowledgement of one recipient.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(AckArgs),
    Timeout,
    Disconnected,
    Failed(EmitError),
}

impl Outcome {
    fn read<A: FromArgs>(self) -> Result<A, AckError> {
        match self {
            Self::Answer(args) => args.read(),
            Self::Timeout => Err(AckError::Timeout),
            Self::Disconnected => Err(AckError::Disconnected),
            Self::Failed(error) => Err(AckError::Emit(error)),
        }
    }
}

/// Where the outcomes of one broadcast come together. Each recipient gets exactly one; later ones are ignored.
#[derive(Default)]
pub(crate) struct Outcomes(Mutex<State>);

#[derive(Default)]
struct State {
    recipients: Vec<Recipient>,
    /// What has come and was not taken yet, by the place of the recipient.
    arrived: VecDeque<(u32, Outcome)>,
    owing: usize,
    waker: Option<Waker>,
}

struct Recipient {
    id: Sid,
    /// Until its outcome is known.
    debtor: Option<AnySocket>,
}

impl Outcomes {
    /// Adds a recipient; says its place.
    pub(crate) fn expect(&self, socket: &AnySocket) -> u32 {
        let mut state = self.0.lock();
        state.owing += 1;
        state.recipients.push(Recipient { id: socket.id(), debtor: Some(socket.clone()) });
        (state.recipients.len() - 1) as u32
    }

    /// Notes what became of the acknowledgement of a recipient, unless that is known already.
    pub(crate) fn resolve(&self, at: u32, outcome: Outcome) {
        let mut state = self.0.lock();
        let Some(debtor) = state.recipients.get_mut(at as usize).and_then(|one| one.debtor.take()) else {
            return;
        };
        state.owing -= 1;
        state.arrived.push_back((at, outcome));
        let waker = state.waker.take();
        // Neither the data of a socket nor a waker may run under the lock.
        drop(state);
        drop(debtor);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next outcome; `None` when there is one for each recipient and all were taken.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<(Sid, Outcome)>> {
        let mut state = self.0.lock();
        if let Some((at, outcome)) = state.arrived.pop_front() {
            return Poll::Ready(Some((state.recipients[at as usize].id, outcome)));
        }
        if state.owing == 0 {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts an end to waiting; gives back those who still owe.
    fn expire(&self) -> Vec<AnySocket> {
        let state = &mut *self.0.lock();
        state.owing = 0;
        let mut late = Vec::new();
        for (at, recipient) in state.recipients.iter_mut().enumerate() {
            if let Some(socket) = recipient.debtor.take() {
                late.push(socket);
                state.arrived.push_back((at as u32, Outcome::Timeout));
            }
        }
        late
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").finish_non_exhaustive()
    }
}

/// The places of one broadcast in the tables of its recipients, given back on drop.
pub(crate) struct Owed {
    pub(crate) id: u64,
    pub(crate) outcomes: Arc<Outcomes>,
}

impl Owed {
    fn expire(&self) {
        for socket in self.outcomes.expire() {
            socket.acks().remove(self.id);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.expire();
    }
}

/// A broadcast that was sent and the acknowledgements that are waited for. Made by
/// [`BroadcastOperator::emit_with_ack`](crate::BroadcastOperator::emit_with_ack).
///
/// As a [`Stream`] it yields the id of each recipient with its answer, in the order in which they arrive, and ends
/// when it has yielded one for each. Awaited, it gives all of them at once. Either way each recipient resolves
/// exactly once: with its answer, when it disconnects, or at the [timeout](Self::timeout), which counts from the first
/// poll. Nobody to wait for is an answer too: an empty one, at once.
///
/// # Cancel safety
///
/// The event has been sent. Polling can stop and go on; dropping the request or its future forgets all answers, and
/// frees their places.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use futures::StreamExt;
/// use socketio::{EmitError, Server};
///
/// async fn vote(io: &Server) -> Result<usize, EmitError> {
///     let votes = io.to("committee").emit_with_ack::<bool, _>("vote", "Coffee?")?;
///     let votes = votes.timeout(Duration::from_secs(60)).await;
///     println!("{} did not vote", votes.missing.len());
///     Ok(votes.answers.iter().filter(|(_, yes)| *yes).count())
/// }
///
/// async fn first(io: &Server) -> Result<Option<String>, EmitError> {
///     let mut answers = io.to("buzzers").emit_with_ack::<(), _>("question", "6 * 7?")?;
///     Ok(answers.next().await.map(|(id, _)| id))
/// }
/// ```
#[must_use = "await it to get the answers"]
pub struct BroadcastAckRequest<A> {
    owed: Owed,
    timeout: Duration,
    /// Made when there is something to wait for.
    deadline: Option<Pin<Box<Sleep>>>,
    answer: PhantomData<fn() -> A>,
}

impl<A> BroadcastAckRequest<A> {
    pub(crate) fn new(owed: Owed, timeout: Duration) -> Self {
        Self { owed, timeout, deadline: None, answer: PhantomData }
    }

    /// Waits this long for the slowest. By default,
    /// [`ServerConfig::ack_timeout`](field@crate::ServerConfig::ack_timeout); Node: 1 millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self.deadline = None;
        self
    }
}

impl<A: FromArgs> Stream for BroadcastAckRequest<A> {
    type Item = (String, Result<A, AckError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Poll::Ready(next) = self.owed.outcomes.poll_next(cx) {
                return Poll::Ready(next.map(|(id, outcome)| (id.as_str().to_owned(), outcome.read())));
            }
            let timeout = self.timeout;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
            std::task::ready!(deadline.as_mut().poll(cx));
            self.owed.expire();
        }
    }
}

impl<A: FromArgs + Send + 'static> IntoFuture for BroadcastAckRequest<A> {
    type Output = BroadcastAnswers<A>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut all = BroadcastAnswers { answers: Vec::new(), missing: Vec::new() };
            while let Some((id, answer)) = self.next().await {
                match answer {
                    Ok(answer) => all.answers.push((id, answer)),
                    Err(error) => all.missing.push((id, error)),
                }
            }
            all
        })
    }
}

impl<A> fmt::Debug for BroadcastAckRequest<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastAckRequest").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What the recipients of a broadcast have answered, by the ids of their sockets.
#[derive(Debug)]
#[non_exhaustive]
pub struct BroadcastAnswers<A> {
    /// The answers, in the order in which they arrived.
    pub answers: Vec<(String, A)>,
    /// Who did not answer, and why.
    pub missing: Vec<(String, AckError)>,
}
