//! The messages that this server has appended to the stream, and that are delivered when they are read.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use socketio::cluster::{Message, Operation};
use socketio_broker::Shared;

use crate::queue::{Content, Queued};

/// Returns `true` for broadcasts that clients can recover.
pub(crate) fn is_logged(operation: &Operation) -> bool {
    matches!(operation, Operation::Broadcast { flags, .. } if !flags.volatile)
}

/// The messages that were appended and not read yet, by number.
#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    appended: Mutex<HashMap<u64, Queued>>,
}

impl Log {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, appended: Mutex::default() }
    }

    /// Records a message before it is appended. It keeps its place in the queue until it is read.
    pub(crate) fn insert(&self, number: u64, queued: Queued) {
        self.appended.lock().insert(number, queued);
    }

    /// Removes a message. Returns `None` if it was delivered already.
    pub(crate) fn take(&self, number: u64) -> Option<Arc<Message>> {
        let queued = self.appended.lock().remove(&number)?;
        self.shared.release(&queued);
        match queued.content {
            Content::Logged(message, _) => Some(message),
            _ => None,
        }
    }
}
