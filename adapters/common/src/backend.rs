//! The backend of a server in a cluster whose servers know each other by heartbeats.

use std::{future::ready, sync::Arc, time::Duration};

use engineio::BoxFuture;
use socketio::cluster::{
    Backend, ClusterFull, ClusterStatus, Message, Receivers, Reply, ServerId, Unavailable,
};
use tokio::{runtime::Handle, time::sleep};

use crate::{
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
}

impl<C> HeartbeatBackend<C> {
    /// Creates the backend of a server. Must be called within a Tokio runtime.
    pub fn new(peer: Arc<Peer<C>>) -> Self {
        Self { runtime: Handle::current(), peer }
    }
}

impl<C: Channels> Backend for HeartbeatBackend<C> {
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull> {
        self.peer.queue.push(Outgoing::Message(message))
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
