//! The servers of each namespace that were heard recently.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use socketio::cluster::ServerId;
use tokio::time::Instant;

use crate::emitter::EMITTER;

/// The maximum number of servers in a namespace. Further ones are not waited for.
const MAX_SERVERS: usize = 1024;
/// The maximum length of the id of a server in bytes.
const MAX_ID: usize = 128;

/// The other servers of each namespace, and when each of them was heard last. In Node.js, each namespace of a
/// server has an id of its own.
#[derive(Debug, Default)]
pub struct Members(Mutex<HashMap<Arc<str>, HashMap<ServerId, Instant>>>);

impl Members {
    /// Records that a message of a server was received. `is_member` adds the server if it is not known.
    pub(crate) fn heard(&self, namespace: &str, server: &ServerId, is_member: bool) {
        if server.as_str() == EMITTER || server.as_str().len() > MAX_ID || server.is_unknown() {
            return;
        }
        let mut members = self.0.lock();
        if !members.contains_key(namespace) {
            members.insert(namespace.into(), HashMap::new());
        }
        let Some(servers) = members.get_mut(namespace) else { return };
        let now = Instant::now();
        if let Some(last) = servers.get_mut(server) {
            *last = now;
        } else if is_member && servers.len() < MAX_SERVERS {
            servers.insert(server.clone(), now);
        }
    }

    /// Removes a server that has left a namespace. Returns `true` if it was a member.
    pub fn remove(&self, namespace: &str, server: &ServerId) -> bool {
        self.0.lock().get_mut(namespace).is_some_and(|servers| servers.remove(server).is_some())
    }

    /// Removes a namespace that this server no longer has.
    pub fn remove_namespace(&self, namespace: &str) {
        self.0.lock().remove(namespace);
    }

    /// Returns the other servers of a namespace.
    pub fn of(&self, namespace: &str) -> Vec<ServerId> {
        self.0.lock().get(namespace).map_or_else(Vec::new, |servers| servers.keys().cloned().collect())
    }

    /// Returns the servers of all namespaces.
    pub fn all(&self) -> Vec<ServerId> {
        let members = self.0.lock();
        let servers: HashSet<_> = members.values().flat_map(HashMap::keys).collect();
        servers.into_iter().cloned().collect()
    }

    /// Removes and returns the servers that were not heard for longer than `timeout`.
    pub fn expire(&self, timeout: Duration) -> Vec<(Arc<str>, ServerId)> {
        let mut expired = Vec::new();
        for (namespace, servers) in &mut *self.0.lock() {
            let late = servers.extract_if(|_, last| last.elapsed() > timeout);
            expired.extend(late.map(|(server, _)| (namespace.clone(), server)));
        }
        expired
    }

    /// Starts the timeouts again. Called when the broker is connected again, because no server was heard
    /// meanwhile.
    pub fn restart(&self) {
        let now = Instant::now();
        self.0.lock().values_mut().flat_map(HashMap::values_mut).for_each(|last| *last = now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> ServerId {
        id.into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_expires_exactly() {
        let (members, timeout) = (Members::default(), Duration::from_secs(10));
        members.heard("/", &id("a"), true);
        members.heard("/chat", &id("b"), true);
        tokio::time::advance(timeout).await;
        assert_eq!(members.expire(timeout), []);
        members.heard("/", &id("a"), true);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(members.expire(timeout), [("/chat".into(), id("b"))]);
        assert_eq!((members.of("/"), members.of("/chat")), (vec![id("a")], vec![]));
        tokio::time::advance(timeout).await;
        members.restart();
        assert_eq!(members.expire(timeout), []);
        assert!(members.remove("/", &id("a")) && !members.remove("/", &id("a")));
    }

    #[test]
    fn emitters_are_no_members_and_the_number_is_limited() {
        let members = Members::default();
        for ignored in [EMITTER, "", &"x".repeat(MAX_ID + 1)] {
            members.heard("/", &id(ignored), true);
        }
        members.heard("/", &id("unknown"), false);
        assert_eq!(members.all(), []);
        for n in 0..=MAX_SERVERS {
            members.heard("/", &id(&n.to_string()), true);
        }
        assert_eq!(members.of("/").len(), MAX_SERVERS);
        members.remove_namespace("/");
        assert_eq!(members.all(), []);
    }
}
