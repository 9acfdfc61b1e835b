//! The sessions of administrators who have logged in.

use std::{collections::VecDeque, error::Error, future::ready, time::Duration};

use parking_lot::Mutex;
use socketio::BoxFuture;
use tokio::time::Instant;

/// The error of a [`SessionStore`]. It is logged, and the administrator sees `internal error`.
pub type StoreError = Box<dyn Error + Send + Sync>;

/// Remembers the sessions of administrators who have logged in with their password, so that a page that is loaded
/// again need not ask for it. The servers of a cluster need a store that they share. Equivalent to the option `store`
/// in Node.js.
///
/// # Examples
///
/// A store for a single session:
///
/// ```
/// use std::{future::ready, sync::OnceLock};
/// use socketio::BoxFuture;
/// use socketio_admin::{SessionStore, StoreError};
///
/// #[derive(Default)]
/// struct OneSession(OnceLock<String>);
///
/// impl SessionStore for OneSession {
///     fn save(&self, id: String) -> BoxFuture<Result<(), StoreError>> {
///         Box::pin(ready(self.0.set(id).map_err(|_| "someone is logged in".into())))
///     }
///
///     fn contains(&self, id: String) -> BoxFuture<Result<bool, StoreError>> {
///         Box::pin(ready(Ok(self.0.get() == Some(&id))))
///     }
/// }
/// ```
pub trait SessionStore: Send + Sync + 'static {
    /// Saves the id of a new session, which is a secret. Equivalent to `saveSession` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns an error if the id cannot be saved. The administrator is then not logged in.
    fn save(&self, id: String) -> BoxFuture<Result<(), StoreError>>;

    /// Resolves to `true` if the session was saved and has not expired. Equivalent to `doesSessionExist` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns an error if the store cannot be asked.
    fn contains(&self, id: String) -> BoxFuture<Result<bool, StoreError>>;
}

/// A [`SessionStore`] in memory, for a single server. Holds up to 1,000 sessions, of which a new one replaces the
/// oldest. A session expires after 24 hours. Equivalent to `InMemoryStore` in Node.js, which has neither limit.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use socketio_admin::MemoryStore;
///
/// let store = MemoryStore::new(10, Duration::from_secs(3600));
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    max_sessions: usize,
    duration: Duration,
    /// The sessions, oldest first, with the time at which they expire.
    sessions: Mutex<VecDeque<(String, Instant)>>,
}

impl MemoryStore {
    /// Creates a store with a maximum number of sessions, and the time after which a session expires.
    ///
    /// # Panics
    ///
    /// Panics if `max_sessions` is zero.
    #[track_caller]
    pub fn new(max_sessions: usize, duration: Duration) -> Self {
        assert!(max_sessions > 0, "max_sessions must not be zero");
        Self { max_sessions, duration, sessions: Mutex::default() }
    }

    fn insert(&self, id: String) {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.max_sessions {
            sessions.pop_front();
        }
        sessions.push_back((id, Instant::now() + self.duration));
    }

    fn find(&self, id: &str) -> bool {
        let (now, mut sessions) = (Instant::now(), self.sessions.lock());
        sessions.retain(|(_, expires)| *expires > now);
        sessions.iter().any(|(known, _)| known == id)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(1_000, Duration::from_hours(24))
    }
}

impl SessionStore for MemoryStore {
    fn save(&self, id: String) -> BoxFuture<Result<(), StoreError>> {
        self.insert(id);
        Box::pin(ready(Ok(())))
    }

    fn contains(&self, id: String) -> BoxFuture<Result<bool, StoreError>> {
        Box::pin(ready(Ok(self.find(&id))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_expires_or_is_replaced() {
        let store = MemoryStore::new(2, Duration::from_secs(10));
        store.insert("a".into());
        tokio::time::advance(Duration::from_secs(6)).await;
        store.insert("b".into());
        assert!(store.find("a") && store.find("b") && !store.find("c"));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(!store.find("a") && store.find("b"));
        store.insert("c".into());
        assert!(store.find("b") && store.find("c"));
        store.insert("d".into());
        assert!(!store.find("b") && store.find("c") && store.find("d"));
    }
}
