//! Tracks the acknowledgements that are expected from clients.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    event::error::{AckError, EmitError},
    hub::ack_collector::{AckCollector, Outcome},
    proto::args::{FromArgs, RawArgs},
};

/// The undecoded arguments of an acknowledgement. `payload` is valid JSON.
#[derive(Debug, Clone)]
pub struct AckArgs {
    pub(crate) payload: Box<str>,
    pub(crate) attachments: Vec<Bytes>,
}

impl AckArgs {
    pub(crate) fn read<A: FromArgs>(mut self) -> Result<A, AckError> {
        let attachments = self.attachments.as_mut_slice().into();
        let raw = RawArgs { payload: &self.payload, args_offset: 1, attachments, wants_ack: false };
        A::from_args(raw).map_err(|error| AckError::Decode(error.into()))
    }
}

/// Receives an acknowledgement.
#[derive(Debug)]
pub(crate) enum AckWaiter {
    /// The sender for a caller that has emitted to one socket.
    Request(oneshot::Sender<AckArgs>),
    /// The collector of a broadcast, and the index of the socket among the recipients.
    Broadcast(Arc<AckCollector>, u32),
}

/// The acknowledgements that are expected from one socket.
#[derive(Debug, Default)]
pub(crate) struct PendingAcks(Mutex<HashMap<u64, AckWaiter>>);

impl PendingAcks {
    pub(crate) fn insert(&self, id: u64, waiter: AckWaiter, max: usize) -> Result<(), EmitError> {
        let mut pending = self.0.lock();
        if pending.len() >= max {
            return Err(EmitError::TooManyAcks);
        }
        pending.insert(id, waiter);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Removes an entry. If the table becomes empty, its memory is freed.
    pub(crate) fn remove(&self, id: u64) -> Option<AckWaiter> {
        let mut pending = self.0.lock();
        let waiter = pending.remove(&id);
        if pending.is_empty() {
            *pending = HashMap::new();
        }
        waiter
    }

    /// Resolves an acknowledgement. An acknowledgement that is not expected is ignored.
    pub(crate) fn resolve(&self, id: u64, args: AckArgs) {
        match self.remove(id) {
            Some(AckWaiter::Request(sender)) => {
                let _ = sender.send(args);
            }
            Some(AckWaiter::Broadcast(outcomes, at)) => outcomes.resolve(at, Outcome::Answer(args)),
            None => {}
        }
    }

    /// Resolves all pending acknowledgements as disconnected. Called when the socket has left its namespace.
    pub(crate) fn clear(&self) {
        let pending = std::mem::take(&mut *self.0.lock());
        for waiter in pending.into_values() {
            if let AckWaiter::Broadcast(outcomes, at) = waiter {
                outcomes.resolve(at, Outcome::Disconnected);
            }
        }
    }
}
