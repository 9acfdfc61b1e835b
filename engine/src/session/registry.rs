//! All sessions, by id.

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

/// Enough that the requests of two worker threads seldom meet.
const SHARDS: usize = 32;

/// Every polling request looks its session up here.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [RwLock<HashMap<Sid, Entry>>; SHARDS],
    len: AtomicUsize,
    /// Tasks of sessions: one may go on after its session, with handlers that have not returned.
    tasks: AtomicUsize,
    emptied: Notify,
}

#[derive(Debug)]
struct Entry {
    session: SessionHandle,
    /// Whether requests find the session no more; its task may go on.
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

    /// A session begins, and with it its task; unless there is one of the same id, then this says no.
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

    /// Whether there is a session of this id, or what is left of one.
    pub(crate) fn knows(&self, sid: &Sid) -> bool {
        self.shard(sid).read().contains_key(sid)
    }

    /// A session has ended.
    pub(crate) fn remove(&self, sid: &Sid) {
        if let Some(entry) = self.shard(sid).write().get_mut(sid)
            && !std::mem::replace(&mut entry.ended, true)
        {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The session of an id that a client sent.
    pub(crate) fn find(&self, id: &str) -> Option<SessionHandle> {
        let id: &[u8; LENGTH] = id.as_bytes().try_into().ok()?;
        self.shard(id).read().get(id).filter(|entry| !entry.ended).map(|entry| entry.session.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The task of a session has ended, with all that ran in it.
    pub(crate) fn task_ends(&self, sid: &Sid) {
        self.remove(sid);
        let mut shard = self.shard(sid).write();
        shard.remove(sid);
        shard.shrink();
        drop(shard);
        if self.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }

    /// Returns when no task of a session is left.
    pub(crate) async fn emptied(&self) {
        let mut emptied = std::pin::pin!(self.emptied.notified());
        // Registered before the count is read: an end in between is not missed.
        emptied.as_mut().enable();
        if self.tasks.load(Ordering::Acquire) > 0 {
            emptied.await;
        }
    }

    /// All open sessions of this moment.
    pub(crate) fn all(&self) -> Vec<SessionHandle> {
        self.entries(|entry| !entry.ended)
    }

    /// All sessions of which a task is left, those that have ended included.
    pub(crate) fn unfinished(&self) -> Vec<SessionHandle> {
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
        // A character has six random bits, but 64 characters do not spread evenly over the low bits of their codes.
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
            registry.task_ends(sid);
        }
        assert!(registry.shards.iter().all(|shard| shard.read().capacity() <= 16));
    }
}
