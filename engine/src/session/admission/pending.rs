//! Sessions that are pending, from the oldest to the newest.

use std::collections::BTreeMap;

use crate::session::mailbox::SessionHandle;

/// All pending sessions of a server. Each operation takes the logarithm of their number.
#[derive(Debug, Default)]
pub(super) struct Pending {
    sessions: BTreeMap<PendingKey, SessionHandle>,
    next: PendingKey,
}

/// What a session is found by, as long as it is pending: newer ones have higher tickets.
pub(super) type PendingKey = u64;

impl Pending {
    /// Takes note of a new session. Gives back the oldest if they are too many then.
    pub(super) fn push(&mut self, session: SessionHandle, max: usize) -> (PendingKey, Option<SessionHandle>) {
        let pending_key = self.next;
        self.next += 1;
        self.sessions.insert(pending_key, session);
        (pending_key, if self.sessions.len() > max { self.pop_oldest() } else { None })
    }

    pub(super) fn pop_oldest(&mut self) -> Option<SessionHandle> {
        self.sessions.pop_first().map(|(_, session)| session)
    }

    /// The session is pending no more, if it still was.
    pub(super) fn remove(&mut self, pending_key: PendingKey) {
        self.sessions.remove(&pending_key);
    }
}
