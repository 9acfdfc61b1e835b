//! The state of a server in a cluster whose servers know each other by heartbeats.

use std::{fmt, sync::Arc, time::Duration};

use socketio::cluster::{
    Inbound, Inbox, ServerId,
    node::{Decoded, Malformed},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    members::Members,
    options::Options,
    outgoing::{Outgoing, Presence},
    queue::{Queue, Queued},
    shared::Shared,
    wanted::{User, UserKind, Wanted},
};

/// The longest time between two checks for servers that are not heard any more.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The names of the channels of a broker, which implements this trait.
pub trait Channels: Send + Sync + 'static {
    /// Returns the channels of a namespace.
    fn of_namespace(&self, id: &ServerId, namespace: &str) -> Vec<String>;

    /// Returns the channel of a room, if rooms have channels of their own.
    fn of_room(&self, namespace: &str, room: &str) -> Option<String> {
        let _ = (namespace, room);
        None
    }

    /// Returns `true` if rooms have channels of their own.
    fn has_rooms(&self) -> bool {
        false
    }
}

/// The state of a server among the others. The tasks that send and receive share it with the
/// [`HeartbeatBackend`](crate::HeartbeatBackend).
#[non_exhaustive]
pub struct Peer<C> {
    /// The names of the channels.
    pub channels: C,
    /// The input of the server.
    pub inbox: Inbox,
    /// The state of the connection.
    pub shared: Arc<Shared>,
    /// The channels that the server wants to be subscribed to.
    pub wanted: Wanted<String>,
    /// The other servers.
    pub members: Members,
    /// The queue of messages to the other servers.
    pub queue: Queue<Outgoing>,
}

impl<C: Channels> Peer<C> {
    /// Creates the state of a server, and starts its heartbeats. Also returns the receiving half of its queue.
    pub fn start(
        channels: C,
        inbox: Inbox,
        options: &Options,
    ) -> (Arc<Self>, mpsc::Receiver<Queued<Outgoing>>) {
        let shared = Arc::new(Shared::new(options.max_queued_bytes));
        let (queue, receiver) = Queue::new(shared.clone());
        let (wanted, members) = (Wanted::default(), Members::default());
        let peer = Arc::new(Self { channels, inbox, shared, wanted, members, queue });
        let (interval, timeout) = (options.heartbeat_interval, options.heartbeat_timeout);
        tokio::spawn(peer.clone().keep_alive(interval, timeout));
        (peer, receiver)
    }

    /// Sends heartbeats, and notices servers that send none, until the server leaves the cluster.
    async fn keep_alive(self: Arc<Self>, every: Duration, timeout: Duration) {
        let mut heartbeats = interval(every);
        let check_interval = CHECK_INTERVAL.min(every);
        let mut checks = interval(check_interval);
        let mut checked = Instant::now();
        for ticks in [&mut heartbeats, &mut checks] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                () = self.shared.leaving() => return,
                // Without the broker, nobody is heard.
                _ = heartbeats.tick() => if self.shared.is_connected() {
                    for namespace in self.wanted.namespaces() {
                        self.announce(namespace, Presence::Alive);
                    }
                },
                _ = checks.tick() => if self.shared.is_connected() {
                    if checked.elapsed() > check_interval * 2 {
                        // This server was frozen or overloaded, and has not read what the others have sent.
                        self.members.restart();
                    }
                    checked = Instant::now();
                    for (namespace, server) in self.members.expire(timeout) {
                        tracing::warn!(%server, namespace = &*namespace, "a server of the cluster is not heard any more");
                        self.inbox.send(Inbound::ServerGone { namespace, server, is_lost: true }).await;
                    }
                },
            }
        }
    }

    /// Sends the state of this server in a namespace.
    pub(crate) fn announce(&self, namespace: Arc<str>, presence: Presence) {
        // If the queue is full, it holds messages that the other servers hear as well.
        let _ = self.queue.push(Outgoing::Presence(namespace, presence));
    }

    /// Called when all channels of a generation are subscribed. `new` are the users of those that were not
    /// subscribed before.
    pub fn subscribed(&self, generation: u64, new: &[User]) {
        if self.shared.set_subscribed(generation) {
            self.members.restart();
            tracing::info!("connected to the other servers");
        }
        let mut namespaces: Vec<_> = new
            .iter()
            .filter(|user| user.kind != UserKind::Room)
            .map(|user| user.namespace.clone())
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        for namespace in namespaces {
            self.announce(namespace, Presence::Joined);
        }
    }

    /// Called when the connection that the channels are subscribed on is lost.
    pub fn disconnected(&self, reason: &str) {
        if self.shared.set_disconnected() {
            tracing::warn!(reason, "the connection to the broker is lost: other servers are not reached");
        }
    }

    /// Logs that the broker cannot be reached, once until it is connected again.
    pub fn unreachable(&self, error: &dyn fmt::Display) {
        if self.shared.set_unreachable() {
            tracing::warn!(%error, "cannot connect to the broker; trying again until it succeeds");
        } else {
            tracing::debug!(%error, "cannot connect to the broker");
        }
    }

    /// Handles a message that was received on a channel of a namespace.
    pub async fn receive(&self, namespace: &Arc<str>, decoded: Result<Decoded, Malformed>) {
        let Ok(decoded) = decoded else {
            self.shared.count_malformed(namespace);
            return;
        };
        let from = match &decoded {
            Decoded::Message(message) if message.namespace == *namespace => &message.from,
            Decoded::Reply(reply) if reply.namespace == *namespace => &reply.from,
            Decoded::InitialHeartbeat(from) | Decoded::Heartbeat(from) | Decoded::Close(from) => from,
            _ => return,
        };
        if from == self.inbox.server_id() {
            return;
        }
        // A server may still respond after it has left the namespace.
        let is_member = !matches!(decoded, Decoded::Reply(_) | Decoded::Close(_));
        self.members.heard(namespace, from, is_member);
        match decoded {
            Decoded::Message(message) => {
                let inbound = Inbound::Message(Arc::new(message));
                if !self.inbox.deliver(&inbound) {
                    self.inbox.send(inbound).await;
                }
            }
            Decoded::Reply(reply) => drop(self.inbox.send(Inbound::Reply(reply)).await),
            Decoded::InitialHeartbeat(_) => self.announce(namespace.clone(), Presence::Alive),
            Decoded::Close(server) if self.members.remove(namespace, &server) => {
                let gone = Inbound::ServerGone { namespace: namespace.clone(), server, is_lost: false };
                self.inbox.send(gone).await;
            }
            _ => {}
        }
    }
}

impl<C> fmt::Debug for Peer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", self.inbox.server_id()).finish_non_exhaustive()
    }
}
