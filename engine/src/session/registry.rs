//! The registry of all sessions, by id.

use std::{
    borrow::Borrow,
    collections::{HashMap, hash_map},
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::{
    proto::sid::{LENGTH, Sid},
    session::mailbox::SessionHandle,
    shrink::Shrink,
};

/// The number of shards, which is large enough that two worker threads rarely contend for a lock.
const SHARDS: usize = 32;

/// The sessions of a server. Every polling request looks up its session here.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [RwLock<HashMap<Sid, Entry>>; SHARDS],
    len: AtomicUsize,
    /// The number of session tasks. A task may outlive its session while handlers are still running.
    tasks: AtomicUsize,
    emptied: Notify,
}

#[derive(Debug)]
struct Entry {
    session: SessionHandle,
    /// `true` if requests no longer find the session. The task of the session may still be running.
    ended: bool,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            len: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            emptied: Notify::new(),
        }
    }

    /// Adds a session and counts its task. Returns `false` if the id is already in use.
    pub(crate) fn insert(&self, session: SessionHandle) -> bool {
        let sid = *session.id();
        match self.shard(&sid).write().entry(sid) {
            hash_map::Entry::Occupied(_) => return false,
            hash_map::Entry::Vacant(place) => place.insert(Entry { session, ended: false }),
        };
        self.len.fetch_add(1, Ordering::Relaxed);
        self.tasks.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Returns `true` if the id is in use. The id of a closed session remains in use until its task has
    /// completed.
    pub(crate) fn contains(&self, sid: &Sid) -> bool {
        self.shard(sid).read().contains_key(sid)
    }

    /// Hides a closed session from requests. The entry of the session remains until
    /// [`remove_task`](Self::remove_task) is called.
    pub(crate) fn remove(&self, sid: &Sid) {
        if let Some(entry) = self.shard(sid).write().get_mut(sid)
            && !std::mem::replace(&mut entry.ended, true)
        {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns the open session with this id, which was sent by a client.
    pub(crate) fn get(&self, id: &str) -> Option<SessionHandle> {
        let id: &[u8; LENGTH] = id.as_bytes().try_into().ok()?;
        self.shard(id).read().get(id).filter(|entry| !entry.ended).map(|entry| entry.session.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Removes a session whose task has completed, including all handlers.
    pub(crate) fn remove_task(&self, sid: &Sid) {
        let mut shard = self.shard(sid).write();
        let removed = shard.remove(sid);
        shard.shrink();
        drop(shard);
        if removed.is_some_and(|entry| !entry.ended) {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        if self.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }

    /// Completes when no session task is left.
    pub(crate) async fn wait_empty(&self) {
        let mut emptied = std::pin::pin!(self.emptied.notified());
        // The notification is enabled before the count is read, so a task that completes in between is not
        // missed.
        emptied.as_mut().enable();
        if self.tasks.load(Ordering::Acquire) > 0 {
            emptied.await;
        }
    }

    /// Returns all open sessions.
    pub(crate) fn open_sessions(&self) -> Vec<SessionHandle> {
        self.entries(|entry| !entry.ended)
    }

    /// Returns all sessions whose task is still running, including closed sessions.
    pub(crate) fn tasks(&self) -> Vec<SessionHandle> {
        self.entries(|_| true)
    }

    fn entries(&self, which: impl Fn(&Entry) -> bool) -> Vec<SessionHandle> {
        let mut sessions = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            sessions.extend(shard.values().filter(|entry| which(entry)).map(|entry| entry.session.clone()));
        }
        sessions
    }

    fn shard(&self, id: &impl Borrow<[u8; LENGTH]>) -> &RwLock<HashMap<Sid, Entry>> {
        // A character contains six random bits, but the low bits of the 64 character codes are not uniform.
        let [first, second, ..] = id.borrow();
        &self.shards[(usize::from(*first) + 31 * usize::from(*second)) % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::{dialect::Dialect, packet::TransportKind},
        session::outbound::Outbound,
    };

    #[test]
    fn the_places_of_many_sessions_come_back() {
        let (registry, outbound) = (Registry::new(), Outbound::for_test(1000));
        let sids: Vec<Sid> = (0..5000).map(|_| Sid::random()).collect();
        for &sid in &sids {
            let session = SessionHandle::new(sid, TransportKind::Polling, Dialect::CURRENT, outbound.clone());
            assert!(registry.insert(session));
        }
        for sid in &sids {
            registry.remove_task(sid);
        }
        assert!(registry.shards.iter().all(|shard| shard.read().capacity() <= 16));
    }
}
