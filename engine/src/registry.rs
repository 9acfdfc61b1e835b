//! All sessions, by id.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::{mailbox::SessionHandle, proto::sid::Sid};

/// Enough that the requests of two worker threads seldom meet.
const SHARDS: usize = 32;

/// Every polling request looks its session up here.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [RwLock<HashMap<Sid, SessionHandle>>; SHARDS],
    len: AtomicUsize,
    /// Tasks of sessions: one may go on after its session, with handlers that have not returned.
    tasks: AtomicUsize,
    emptied: Notify,
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

    pub(crate) fn insert(&self, session: SessionHandle) {
        let sid = *session.id();
        self.shard(&sid).write().insert(sid, session);
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, sid: &Sid) {
        if self.shard(sid).write().remove(sid).is_some() {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn find(&self, sid: &Sid) -> Option<SessionHandle> {
        self.shard(sid).read().get(sid).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// A task of a session begins.
    pub(crate) fn task_begins(&self) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
    }

    /// A task of a session has ended, with all that ran in it.
    pub(crate) fn task_ends(&self) {
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

    /// All sessions of this moment.
    pub(crate) fn all(&self) -> Vec<SessionHandle> {
        self.shards.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn shard(&self, sid: &Sid) -> &RwLock<HashMap<Sid, SessionHandle>> {
        // A character has six random bits, but 64 characters do not spread evenly over the low bits of their codes.
        let [first, second, ..] = sid.as_str().as_bytes() else { return &self.shards[0] };
        &self.shards[(usize::from(*first) + 31 * usize::from(*second)) % SHARDS]
    }
}
