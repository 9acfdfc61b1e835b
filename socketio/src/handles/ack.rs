//! Acknowledgements that clients owe.

use std::{
    collections::HashMap,
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    event::error::{AckError, EmitError},
    handles::socket::AnySocket,
    hub::ack_collector::{Outcome, Outcomes},
    proto::args::{FromArgs, RawArgs},
};

/// An answer as it arrived; its text is known to be JSON.
#[derive(Debug)]
pub(crate) struct AckArgs {
    pub(crate) payload: Box<str>,
    pub(crate) attachments: Vec<Bytes>,
}

impl AckArgs {
    pub(crate) fn read<A: FromArgs>(mut self) -> Result<A, AckError> {
        let attachments = self.attachments.as_mut_slice().into();
        let raw = RawArgs { payload: &self.payload, args_at: 1, attachments, asked: false };
        A::from_args(raw).map_err(|error| AckError::Decode(error.into()))
    }
}

/// Who waits for an acknowledgement.
#[derive(Debug)]
pub(crate) enum Creditor {
    /// An emit to one socket.
    Request(oneshot::Sender<AckArgs>),
    /// A broadcast, of which the socket is the recipient at this place.
    Broadcast(Arc<Outcomes>, u32),
}

/// The acknowledgements that one socket owes.
#[derive(Debug, Default)]
pub(crate) struct PendingAcks(Mutex<HashMap<u64, Creditor>>);

impl PendingAcks {
    pub(crate) fn insert(&self, id: u64, creditor: Creditor, max: usize) -> Result<(), EmitError> {
        let mut pending = self.0.lock();
        if pending.len() >= max {
            return Err(EmitError::TooManyAcks);
        }
        pending.insert(id, creditor);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Forgets one. A socket that owes nothing keeps no table.
    pub(crate) fn remove(&self, id: u64) -> Option<Creditor> {
        let mut pending = self.0.lock();
        let creditor = pending.remove(&id);
        if pending.is_empty() {
            *pending = HashMap::new();
        }
        creditor
    }

    /// Takes an answer; one that nobody waits for any more is forgotten.
    pub(crate) fn resolve(&self, id: u64, args: AckArgs) {
        match self.remove(id) {
            Some(Creditor::Request(sender)) => {
                let _ = sender.send(args);
            }
            Some(Creditor::Broadcast(outcomes, at)) => outcomes.resolve(at, Outcome::Answer(args)),
            None => {}
        }
    }

    /// The socket has left: all that wait for it hear so.
    pub(crate) fn clear(&self) {
        let pending = std::mem::take(&mut *self.0.lock());
        for creditor in pending.into_values() {
            if let Creditor::Broadcast(outcomes, at) = creditor {
                outcomes.resolve(at, Outcome::Disconnected);
            }
        }
    }
}

/// An event that was sent and an answer that is waited for; await it to get the answer.
///
/// It resolves exactly once: with the answer, at the [timeout](Self::timeout), or when the socket disconnects.
///
/// # Cancel safety
///
/// The event has been sent before the first await. Dropping the future forgets the answer, and frees its place.
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
#[must_use = "await it to get the answer"]
pub struct AckRequest<A> {
    state: Result<Waiting, EmitError>,
    timeout: Duration,
    answer: PhantomData<fn() -> A>,
}

impl<A> AckRequest<A> {
    pub(crate) fn new(state: Result<Waiting, EmitError>, timeout: Duration) -> Self {
        Self { state, timeout, answer: PhantomData }
    }

    /// Waits this long. By default,
    /// [`ServerConfig::ack_timeout`](field@crate::ServerConfig::ack_timeout).
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
            let mut waiting = state.map_err(AckError::Emit)?;
            let args = tokio::time::timeout(timeout, &mut waiting.answer)
                .await
                .map_err(|_| AckError::Timeout)
                .inspect_err(|_| waiting.socket.metrics().ack_timed_out())?
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

/// A place in the table of a socket, given back on drop.
pub(crate) struct Waiting {
    pub(crate) socket: AnySocket,
    pub(crate) id: u64,
    pub(crate) answer: oneshot::Receiver<AckArgs>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.socket.acks().remove(self.id);
    }
}
