//! Implements a cluster of servers within one process.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

use crate::hub::cluster::{Backend, ClusterFull, Inbound, Inbox, Message, Reply, RequestTargets, ServerId};

/// Connects several servers of one process to a cluster, such as one server per runtime in a thread-per-core
/// application, or several servers in a test. A `MemoryBus` is cheap to clone.
///
/// Broadcasts and the methods that fetch, move and disconnect sockets reach the sockets of all servers. Local
/// delivery never waits for other servers.
///
/// # Examples
///
/// ```
/// use socketio::{MemoryBus, Namespace, Server, ServerConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), socketio::EmitError> {
/// let bus = MemoryBus::new();
/// let one = Server::with_bus(ServerConfig::default(), &bus).namespace(Namespace::new("/"));
/// let two = Server::with_bus(ServerConfig::default(), &bus).namespace(Namespace::new("/"));
/// assert_eq!(two.server_count(), 2);
/// // Reaches the clients of both servers.
/// one.emit("news", "Tea is ready.")
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBus(Arc<Shared>);

struct Shared {
    capacity: usize,
    members: Mutex<Vec<(ServerId, mpsc::Sender<Inbound>)>>,
    servers: watch::Sender<Vec<ServerId>>,
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBus {
    /// The default capacity, which is the maximum number of queued messages per server.
    pub const CAPACITY: usize = 8192;

    /// Creates a bus with the default [`CAPACITY`](Self::CAPACITY).
    pub fn new() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }

    /// Creates a bus that queues at most `messages` messages for each server. If a queue is full, an emit
    /// fails with [`EmitError::ClusterFull`](crate::EmitError::ClusterFull), and a request reports the server
    /// with the full queue as missing.
    ///
    /// # Panics
    ///
    /// Panics if the capacity is zero.
    #[track_caller]
    pub fn with_capacity(messages: usize) -> Self {
        assert!(messages > 0, "the capacity of a bus must not be zero");
        let shared =
            Shared { capacity: messages, members: Mutex::default(), servers: watch::Sender::default() };
        Self(Arc::new(shared))
    }

    /// Adds a server to the bus.
    pub(crate) fn join(&self) -> (ServerId, Box<dyn Backend>, Inbox) {
        let id = ServerId::random();
        let (sender, inbound) = mpsc::channel(self.0.capacity);
        let mut members = self.0.members.lock();
        members.push((id, sender));
        self.0.servers.send_modify(|servers| servers.push(id));
        let inbox = Inbox { inbound, servers: self.0.servers.subscribe() };
        (id, Box::new(MemoryBackend { bus: self.clone(), id }), inbox)
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").field("servers", &*self.0.servers.borrow()).finish_non_exhaustive()
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
    fn send_all(&self, message: &Arc<Message>, mut sent: impl FnMut(ServerId, Result<(), ClusterFull>)) {
        // The lock is held while sending, so all servers receive the messages of different senders in the
        // same order.
        let members = self.bus.0.members.lock();
        if !members.iter().any(|(id, _)| *id == self.id) {
            return;
        }
        for (id, sender) in members.iter().filter(|(id, _)| *id != self.id) {
            match sender.try_send(Inbound::Message(message.clone())) {
                Ok(()) => sent(*id, Ok(())),
                Err(TrySendError::Full(_)) => sent(*id, Err(ClusterFull)),
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }
}

impl Backend for MemoryBackend {
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull> {
        let mut result = Ok(());
        self.send_all(&message, |_, sent| result = result.and(sent));
        result
    }

    fn request(&self, message: Arc<Message>) -> RequestTargets {
        let mut quorum = RequestTargets { waiting: Vec::new(), unreachable: Vec::new() };
        self.send_all(&message, |id, sent| match sent {
            Ok(()) => quorum.waiting.push(id),
            Err(ClusterFull) => quorum.unreachable.push(id),
        });
        quorum
    }

    fn reply(&self, to: ServerId, reply: Reply) -> Result<(), ClusterFull> {
        let members = self.bus.0.members.lock();
        let Some((_, sender)) = members.iter().find(|(id, _)| *id == to) else { return Ok(()) };
        match sender.try_send(Inbound::Reply(reply)) {
            Err(TrySendError::Full(_)) => Err(ClusterFull),
            // If the server has left, it does not wait for a response.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        }
    }

    fn servers(&self) -> Vec<ServerId> {
        let servers = self.bus.0.servers.borrow();
        if servers.contains(&self.id) { servers.clone() } else { Vec::new() }
    }

    fn leave(&self) {
        let mut members = self.bus.0.members.lock();
        members.retain(|(id, _)| *id != self.id);
        self.bus.0.servers.send_modify(|servers| servers.retain(|id| *id != self.id));
    }
}
