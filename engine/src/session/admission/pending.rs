//! Pending sessions, from the oldest to the newest.

use std::collections::BTreeMap;

use crate::session::mailbox::SessionHandle;

/// All pending sessions of a server. Each operation takes logarithmic time.
#[derive(Debug, Default)]
pub(super) struct Pending {
    sessions: BTreeMap<PendingKey, SessionHandle>,
    next: PendingKey,
}

/// The key of a pending session. Newer sessions have higher keys.
pub(super) type PendingKey = u64;

impl Pending {
    /// Adds a session. Removes and returns the oldest session if there are now more than `max` sessions.
    pub(super) fn push(&mut self, session: SessionHandle, max: usize) -> (PendingKey, Option<SessionHandle>) {
        let pending_key = self.next;
        self.next += 1;
        self.sessions.insert(pending_key, session);
        (pending_key, if self.sessions.len() > max { self.pop_oldest() } else { None })
    }

    pub(super) fn pop_oldest(&mut self) -> Option<SessionHandle> {
        self.sessions.pop_first().map(|(_, session)| session)
    }

    /// Removes a session if it is still pending.
    pub(super) fn remove(&mut self, pending_key: PendingKey) {
        self.sessions.remove(&pending_key);
    }
}
