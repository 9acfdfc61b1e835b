//! Implements a cluster of servers within one process.

use std::{fmt, future::ready, sync::Arc};

use engineio::BoxFuture;
use parking_lot::Mutex;

use crate::hub::cluster::{
    Backend, Broker, ClusterFull, Inbound, Inbox, Message, Receivers, Reply, ServerId, Unavailable,
};

/// Connects several servers of one process to a cluster, such as one server per runtime in a thread-per-core
/// application, or several servers in a test. A `MemoryBus` is cheap to clone.
///
/// Broadcasts and the methods that fetch, move and disconnect sockets reach the sockets of all servers. Local
/// delivery never waits for other servers.
///
/// A server queues [`max_cluster_messages`](crate::ServerConfig::max_cluster_messages) messages of the
/// other servers. If the queue of a server is full, an emit fails with
/// [`EmitError::ClusterFull`](crate::EmitError::ClusterFull), and a request reports the server as missing.
///
/// # Examples
///
/// ```
/// use socketio::{MemoryBus, Namespace, Server, ServerConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = MemoryBus::new();
/// let one = Server::with_cluster(ServerConfig::default(), bus.clone()).namespace(Namespace::new("/"));
/// let two = Server::with_cluster(ServerConfig::default(), bus).namespace(Namespace::new("/"));
/// assert_eq!(two.server_count().await?, 2);
/// // Reaches the clients of both servers.
/// one.emit("news", "Tea is ready.")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryBus(Arc<Mutex<Vec<Inbox>>>);

impl MemoryBus {
    /// Creates a bus without servers.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Broker for MemoryBus {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let id = inbox.server_id().clone();
        let mut members = self.0.lock();
        members.push(inbox);
        members.iter().for_each(Inbox::servers_changed);
        drop(members);
        Arc::new(MemoryBackend { bus: self, id })
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryBus").field(&*self.0.lock()).finish()
    }
}

/// The backend of one server on the bus.
struct MemoryBackend {
    bus: MemoryBus,
    id: ServerId,
}

impl MemoryBackend {
    /// Sends a message to all other servers, and calls `sent` with the result for each server that is still
    /// present.
    fn send_all(&self, message: &Arc<Message>, mut sent: impl FnMut(&ServerId, Result<(), ClusterFull>)) {
        // The lock is held while sending, so all servers receive the messages of different senders in the
        // same order.
        let members = self.bus.0.lock();
        if !members.iter().any(|inbox| *inbox.server_id() == self.id) {
            return;
        }
        for inbox in members.iter().filter(|inbox| *inbox.server_id() != self.id && !inbox.is_closed()) {
            sent(inbox.server_id(), inbox.try_send(Inbound::Message(message.clone())));
        }
    }
}

impl Backend for MemoryBackend {
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull> {
        let mut result = Ok(());
        self.send_all(&message, |_, sent| result = result.and(sent));
        result
    }

    fn request(&self, message: Arc<Message>) -> Receivers {
        let (mut waiting, mut unreachable) = (Vec::new(), Vec::new());
        self.send_all(&message, |id, sent| match sent {
            Ok(()) => waiting.push(id.clone()),
            Err(ClusterFull) => unreachable.push(id.clone()),
        });
        Receivers::Known { waiting, unreachable }
    }

    fn reply(&self, to: &ServerId, reply: Reply) -> Result<(), ClusterFull> {
        let members = self.bus.0.lock();
        let Some(inbox) = members.iter().find(|inbox| inbox.server_id() == to) else { return Ok(()) };
        inbox.try_send(Inbound::Reply(reply))
    }

    fn servers(&self) -> Vec<ServerId> {
        let servers: Vec<_> = self.bus.0.lock().iter().map(|inbox| inbox.server_id().clone()).collect();
        if servers.contains(&self.id) { servers } else { Vec::new() }
    }

    fn server_count(&self, _: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        Box::pin(ready(Ok(self.servers().len().max(1))))
    }

    fn leave(&self) -> BoxFuture<()> {
        let mut members = self.bus.0.lock();
        members.retain(|inbox| *inbox.server_id() != self.id);
        members.iter().for_each(Inbox::servers_changed);
        Box::pin(ready(()))
    }
}
