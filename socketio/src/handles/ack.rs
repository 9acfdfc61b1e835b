//! The request for an acknowledgement from one socket.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    event::error::{AckError, EmitError},
    hub::{acks::AckArgs, socket_core::AnySocket},
    proto::args::FromArgs,
};

/// A sent event whose acknowledgement is pending. Await the request to receive the acknowledgement. Returned
/// by [`Socket::emit_with_ack`](crate::Socket::emit_with_ack).
///
/// The request resolves exactly once, either to the acknowledgement or to an [error](AckError), for example
/// after the [timeout](Self::timeout) or when the socket disconnects.
///
/// # Cancel safety
///
/// The event is sent before the request is awaited. Dropping the request or its future discards the
/// acknowledgement, which then no longer counts toward
/// [`max_pending_acks`](crate::ServerConfig::max_pending_acks).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use socketio::{EventError, Socket};
///
/// async fn vote(socket: Socket) -> Result<bool, EventError> {
///     Ok(socket.emit_with_ack("vote", "Coffee?").timeout(Duration::from_secs(60)).await?)
/// }
/// ```
#[must_use = "await it to get the acknowledgement"]
pub struct AckRequest<A> {
    state: Result<PendingAck, EmitError>,
    timeout: Duration,
    answer: PhantomData<fn() -> A>,
}

impl<A> AckRequest<A> {
    pub(crate) fn new(state: Result<PendingAck, EmitError>, timeout: Duration) -> Self {
        Self { state, timeout, answer: PhantomData }
    }

    /// Sets the time to wait for the acknowledgement, starting at the first poll. Defaults to
    /// [`ServerConfig::ack_timeout`](crate::ServerConfig::ack_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<A: FromArgs> IntoFuture for AckRequest<A> {
    type Output = Result<A, AckError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { state, timeout, .. } = self;
        Box::pin(async move {
            let mut pending = state.map_err(AckError::Emit)?;
            let args = tokio::time::timeout(timeout, &mut pending.answer)
                .await
                .map_err(|_| AckError::Timeout)
                .inspect_err(|_| pending.socket.metrics().ack_timed_out())?
                .map_err(|_| AckError::Disconnected)?;
            args.read()
        })
    }
}

impl<A> fmt::Debug for AckRequest<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckRequest").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// An entry in the table of pending acknowledgements of a socket. Dropping the value removes the entry.
pub(crate) struct PendingAck {
    pub(crate) socket: AnySocket,
    pub(crate) id: u64,
    pub(crate) answer: oneshot::Receiver<AckArgs>,
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        self.socket.acks().remove(self.id);
    }
}
