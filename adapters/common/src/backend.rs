//! The backend of a server in a cluster whose servers know each other by heartbeats.

use std::{
    fmt,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engineio::BoxFuture;
use socketio::cluster::{
    Backend, ClusterFull, ClusterStatus, Message, Receivers, RecoveryStore, Reply, ServerId, Unavailable,
};
use tokio::{runtime::Handle, time::sleep};

use crate::{
    log::is_logged,
    outgoing::{Outgoing, Presence},
    peer::{Channels, Peer},
};

/// The time between the removal of a namespace and the end of its subscriptions. Requests that other servers
/// have sent before they know of the removal are answered.
const UNSUBSCRIBE_DELAY: Duration = Duration::from_millis(200);

/// The implementation of [`Backend`] for a [`Peer`].
#[derive(Debug)]
pub struct HeartbeatBackend<C> {
    runtime: Handle,
    peer: Arc<Peer<C>>,
    recovery: Option<Recovery>,
}

/// The event log of a broker.
struct Recovery {
    store: Arc<dyn RecoveryStore>,
    /// The number of broadcasts that were published to be delivered when they are read.
    logged: AtomicU64,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("logged", &self.logged).finish_non_exhaustive()
    }
}

impl<C> HeartbeatBackend<C> {
    /// Creates the backend of a server. Must be called within a Tokio runtime.
    pub fn new(peer: Arc<Peer<C>>) -> Self {
        Self { runtime: Handle::current(), peer, recovery: None }
    }

    /// Sets the event log of the broker, for a server with connection state recovery. Broadcasts that clients can
    /// recover are queued as [`Outgoing::Logged`].
    #[must_use]
    pub fn with_recovery(mut self, store: Arc<dyn RecoveryStore>) -> Self {
        self.recovery = Some(Recovery { store, logged: AtomicU64::new(0) });
        self
    }
}

impl<C: Channels> Backend for HeartbeatBackend<C> {
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull> {
        self.peer.queue.push(match &self.recovery {
            Some(Recovery { logged, .. }) if is_logged(&message.operation) => {
                Outgoing::Logged(message, logged.fetch_add(1, Ordering::Relaxed))
            }
            _ => Outgoing::Message(message),
        })
    }

    fn request(&self, message: Arc<Message>) -> Receivers {
        let this = &self.peer;
        let known = |waiting, unreachable| Receivers::Known { waiting, unreachable };
        if this.shared.has_left() {
            return known(Vec::new(), Vec::new());
        }
        if !this.shared.is_connected() {
            return known(Vec::new(), vec![ServerId::unknown()]);
        }
        let members = this.members.of(&message.namespace);
        match this.queue.push(Outgoing::Request(message, this.wanted.generation())) {
            Ok(()) => known(members, Vec::new()),
            Err(ClusterFull) => known(Vec::new(), members),
        }
    }

    fn reply(&self, to: &ServerId, reply: Reply) -> Result<(), ClusterFull> {
        self.peer.queue.push(Outgoing::Reply(to.clone(), reply))
    }

    fn servers(&self) -> Vec<ServerId> {
        if self.peer.shared.has_left() {
            return Vec::new();
        }
        let mut servers = self.peer.members.all();
        servers.push(self.peer.inbox.server_id().clone());
        servers
    }

    fn server_count(&self, namespace: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        let is_connected = self.peer.shared.is_connected();
        let count =
            if is_connected { Ok(self.peer.members.of(&namespace).len() + 1) } else { Err(Unavailable) };
        Box::pin(ready(count))
    }

    fn namespace_created(&self, namespace: &str) {
        let this = &self.peer;
        this.wanted.add(namespace, this.channels.of_namespace(this.inbox.server_id(), namespace));
    }

    fn namespace_removed(&self, namespace: &str) {
        let (this, namespace) = (self.peer.clone(), Arc::<str>::from(namespace));
        self.runtime.spawn(async move {
            sleep(UNSUBSCRIBE_DELAY).await;
            let channels = this.channels.of_namespace(this.inbox.server_id(), &namespace);
            if this.wanted.remove(&namespace, channels) {
                this.members.remove_namespace(&namespace);
                this.announce(namespace, Presence::Left);
            }
        });
    }

    fn tracks_rooms(&self) -> bool {
        self.peer.channels.has_rooms()
    }

    fn room_changed(&self, namespace: &str, room: &str) {
        let this = &self.peer;
        if let Some(channel) = this.channels.of_room(namespace, room) {
            this.wanted.set(namespace, &channel, || this.inbox.has_room(namespace, room));
        }
    }

    fn connected(&self) -> BoxFuture<()> {
        self.peer.shared.connected(self.peer.wanted.generation())
    }

    fn status(&self) -> ClusterStatus {
        self.peer.shared.status()
    }

    fn recovery(&self) -> Option<Arc<dyn RecoveryStore>> {
        self.recovery.as_ref().map(|recovery| recovery.store.clone())
    }

    fn leave(&self) -> BoxFuture<()> {
        let this = &self.peer;
        if this.shared.is_connected() {
            for namespace in this.wanted.namespaces() {
                this.announce(namespace, Presence::Left);
            }
        }
        this.shared.leave()
    }
}
