//! The broadcasts that this server has appended to the event log of the broker, and that it delivers when it reads
//! them.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use socketio::cluster::{Inbound, Inbox, Message, Operation};

use crate::{queue::Queued, shared::Shared};

/// Returns `true` for the messages that are appended to the event log: those that need no response.
pub fn is_durable(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Broadcast { .. }
            | Operation::Join { .. }
            | Operation::Leave { .. }
            | Operation::Disconnect { .. }
    )
}

/// Returns `true` for broadcasts that clients can recover.
pub fn is_logged(operation: &Operation) -> bool {
    matches!(operation, Operation::Broadcast { flags, .. } if !flags.volatile)
}

/// The broadcasts that were appended and not read yet, by number.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    appended: Mutex<HashMap<u64, Queued<Arc<Message>>>>,
}

impl Log {
    /// Creates an empty log.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, appended: Mutex::default() }
    }

    /// Records a broadcast before it is appended. It keeps its place in the queue until it is read.
    pub fn insert(&self, number: u64, queued: Queued<Arc<Message>>) {
        self.appended.lock().insert(number, queued);
    }

    /// Removes a broadcast. Returns `None` if it was delivered already.
    pub fn take(&self, number: u64) -> Option<Arc<Message>> {
        let queued = self.appended.lock().remove(&number)?;
        self.shared.release(&queued);
        Some(queued.content)
    }

    /// Delivers a broadcast that is not appended, or that may not be, unless it was delivered already.
    pub async fn deliver_unlogged(&self, number: u64, inbox: &Inbox) {
        if let Some(message) = self.take(number) {
            inbox.send(Inbound::Logged(message, None)).await;
        }
    }
}
