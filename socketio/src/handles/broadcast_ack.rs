//! The acknowledgements of a broadcast. All recipients share one acknowledgement id, and each recipient has
//! its own outcome.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt};
use tokio::time::Sleep;

use crate::{
    event::error::AckError,
    hub::{
        ack_collector::{Outcome, PendingBroadcast},
        cluster::ServerId,
    },
    metrics::NamespaceMetrics,
    proto::args::FromArgs,
};

/// A sent broadcast whose acknowledgements are pending. Returned by
/// [`BroadcastOperator::emit_with_ack`](crate::BroadcastOperator::emit_with_ack).
///
/// The request is a [`Stream`] that yields one item per recipient, with the id of the recipient and its
/// acknowledgement, in order of arrival. When awaited, the request resolves to all acknowledgements. In both
/// cases, each recipient resolves exactly once, either to its acknowledgement or to an error, for example
/// when the recipient disconnects or after the [timeout](Self::timeout). Without recipients, the result is
/// empty and available immediately.
///
/// # Cancel safety
///
/// The event is sent before the request is polled. Polling can stop and resume without losing
/// acknowledgements. Dropping the request or its future discards all acknowledgements, which then no longer
/// count toward [`max_pending_acks`](crate::ServerConfig::max_pending_acks).
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
#[must_use = "await it to get the acknowledgements"]
pub struct BroadcastAckRequest<A> {
    pending: PendingBroadcast,
    timeout: Duration,
    /// The timer of the timeout. `None` until a poll has to wait.
    deadline: Option<Pin<Box<Sleep>>>,
    metrics: NamespaceMetrics,
    answer: PhantomData<fn() -> A>,
}

impl<A> BroadcastAckRequest<A> {
    pub(crate) fn new(pending: PendingBroadcast, timeout: Duration, metrics: NamespaceMetrics) -> Self {
        Self { pending, timeout, deadline: None, metrics, answer: PhantomData }
    }

    /// Sets the time to wait for the slowest recipient, starting at the first poll that has to wait. Defaults
    /// to [`ServerConfig::ack_timeout`](crate::ServerConfig::ack_timeout). In Node.js, the default is 1
    /// millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self.deadline = None;
        self
    }

    /// Returns the servers that did not report their recipients, because they did not respond in time or
    /// because the queue to them was full. The stream yields no items for the sockets of these servers.
    pub fn missing_servers(&self) -> Vec<ServerId> {
        self.pending.outcomes.missing_servers()
    }
}

impl<A: FromArgs> Stream for BroadcastAckRequest<A> {
    type Item = (String, Result<A, AckError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Poll::Ready(next) = self.pending.outcomes.poll_next(cx) {
                if let Some((_, Outcome::Timeout)) = next {
                    self.metrics.ack_timed_out();
                }
                return Poll::Ready(next.map(|(id, outcome)| {
                    (id.map_or_else(String::new, |id| id.as_str().to_owned()), outcome.read())
                }));
            }
            let timeout = self.timeout;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
            std::task::ready!(deadline.as_mut().poll(cx));
            self.pending.expire();
        }
    }
}

impl<A: FromArgs + Send + 'static> IntoFuture for BroadcastAckRequest<A> {
    type Output = BroadcastAnswers<A>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut all =
                BroadcastAnswers { answers: Vec::new(), missing: Vec::new(), missing_servers: Vec::new() };
            while let Some((id, answer)) = self.next().await {
                match answer {
                    Ok(answer) => all.answers.push((id, answer)),
                    Err(error) => all.missing.push((id, error)),
                }
            }
            all.missing_servers = self.missing_servers();
            all
        })
    }
}

impl<A> fmt::Debug for BroadcastAckRequest<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastAckRequest").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The acknowledgements of a broadcast. Recipients are identified by the ids of their sockets.
#[derive(Debug)]
#[non_exhaustive]
pub struct BroadcastAnswers<A> {
    /// The received acknowledgements, in order of arrival.
    pub answers: Vec<(String, A)>,
    /// The recipients without a valid acknowledgement, each with the reason.
    pub missing: Vec<(String, AckError)>,
    /// The servers of the cluster that did not report their recipients, because they did not respond in time
    /// or because the queue to them was full.
    pub missing_servers: Vec<ServerId>,
}

/// The responses of other servers to an event. Returned by
/// [`BroadcastOperator::server_side_emit_with_ack`](crate::BroadcastOperator::server_side_emit_with_ack).
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerAnswers<A> {
    /// The received responses, in order of arrival.
    pub answers: Vec<(ServerId, A)>,
    /// The servers without a valid response, each with the reason.
    pub missing: Vec<(ServerId, AckError)>,
}
