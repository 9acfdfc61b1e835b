//! The interface between a server and the broker that connects it to the other servers.

use std::{
    fmt,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use engineio::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::hub::cluster::message::{ClusterFull, Message, Operation, Reply, RequestId, ServerId};

/// Connects a server to the other servers of its cluster. Equivalent to the function that creates an adapter
/// in Node.js.
pub trait Broker {
    /// Starts to connect, and returns without waiting for the connection. Messages of other servers are
    /// passed to `inbox`.
    ///
    /// Called once, within a Tokio runtime.
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend>;
}

/// The connection of one server to its broker. No method blocks or waits. All queues are bounded.
pub trait Backend: Send + Sync + 'static {
    /// Queues a message for all other servers. The other servers receive the messages in the order of the
    /// calls.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue is full. Then no server receives the message, or some do not.
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull>;

    /// Like [`publish`](Self::publish), but for a message that the other servers respond to.
    fn request(&self, message: Arc<Message>) -> Receivers;

    /// Queues a response for the requesting server.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue is full. Then the response is lost.
    fn reply(&self, to: &ServerId, reply: Reply) -> Result<(), ClusterFull>;

    /// Returns the ids of all present servers, including this server. Empty if the protocol of the broker
    /// does not name servers, and after this server has left.
    fn servers(&self) -> Vec<ServerId>;

    /// Counts the servers of a namespace, including this server.
    fn server_count(&self, namespace: Arc<str>) -> BoxFuture<Result<usize, Unavailable>>;

    /// Called when this server creates a namespace. The default implementation does nothing.
    fn namespace_created(&self, namespace: &str) {
        let _ = namespace;
    }

    /// Called when this server removes a namespace. The default implementation does nothing.
    fn namespace_removed(&self, namespace: &str) {
        let _ = namespace;
    }

    /// Returns `true` if [`room_changed`](Self::room_changed) must be called. Called once for each namespace.
    /// Defaults to `false`.
    fn tracks_rooms(&self) -> bool {
        false
    }

    /// Called when a room gets its first socket on this server, or loses its last. [`Inbox::has_room`]
    /// returns the current state. The default implementation does nothing.
    fn room_changed(&self, namespace: &str, room: &str) {
        let _ = (namespace, room);
    }

    /// Waits until the broker is connected and the server receives the messages of all its namespaces. The
    /// default implementation returns immediately.
    fn connected(&self) -> BoxFuture<()> {
        Box::pin(ready(()))
    }

    /// Returns the state of the connection to the broker.
    fn status(&self) -> ClusterStatus {
        ClusterStatus { is_connected: true, ..ClusterStatus::default() }
    }

    /// Removes this server from the cluster. After the call, no message is sent or received.
    fn leave(&self);
}

/// The servers that received a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Receivers {
    /// The servers are known by their ids. The set of servers does not change during the call.
    Known {
        /// The servers that received the request. Each of them responds or leaves.
        waiting: Vec<ServerId>,
        /// The servers that did not receive the request because their queues are full.
        unreachable: Vec<ServerId>,
    },
    /// The number of servers is not known yet. The backend passes it to the inbox as
    /// [`Inbound::ReceiverCount`].
    Counted,
}

/// Input from the broker. The messages of each sender are received in the order in which they were sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum Inbound {
    /// A message of another server.
    Message(Arc<Message>),
    /// A response to a request of this server.
    Reply(Reply),
    /// The number of other servers that received a request of this server. `None` if the request could not
    /// be sent.
    ReceiverCount(RequestId, Option<usize>),
}

/// The state of the connection to the broker. The counters start at zero when the server is created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// The broker is connected, and the server receives the messages of all its namespaces.
    pub is_connected: bool,
    /// How often the connection was lost.
    pub disconnections: u64,
    /// The bytes of messages in the queue to the broker.
    pub queued_bytes: usize,
    /// The messages to other servers that were dropped: because the queue was full, because they were too old
    /// when the broker was connected again, or because the connection was lost while they were sent.
    pub dropped: u64,
    /// The received messages that were ignored because they are malformed.
    pub malformed: u64,
}

/// The error that the broker is not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broker of the cluster is not connected")
    }
}

impl std::error::Error for Unavailable {}

/// Passes input from the broker to the server. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    id: ServerId,
    inbound: mpsc::Sender<Inbound>,
    servers: watch::Sender<()>,
    has_room: Arc<HasRoom>,
    joins: Joins,
}

/// The number of queued messages that add sockets to rooms.
#[derive(Debug, Clone, Default)]
struct Joins(Arc<AtomicUsize>);

impl Joins {
    fn sent(&self, inbound: &Inbound) {
        if inbound.is_join() {
            self.0.fetch_add(1, Ordering::Release);
        }
    }
}

impl Inbound {
    fn is_join(&self) -> bool {
        matches!(self, Self::Message(message) if matches!(message.operation, Operation::Join { .. }))
    }
}

/// Returns `true` if a room of a namespace has sockets on this server.
type HasRoom = dyn Fn(&str, &str) -> bool + Send + Sync;

/// The receiving half of an [`Inbox`].
pub(crate) struct InboxReceiver {
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) servers: watch::Receiver<()>,
    joins: Joins,
}

impl InboxReceiver {
    /// Called after a message that adds sockets to rooms was handled.
    pub(crate) fn joined(&self) {
        self.joins.0.fetch_sub(1, Ordering::Release);
    }
}

impl Inbox {
    pub(crate) fn new(
        capacity: usize,
        has_room: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> (Self, InboxReceiver) {
        let (sender, inbound) = mpsc::channel(capacity);
        let servers = watch::Sender::default();
        let joins = Joins::default();
        let receiver = InboxReceiver { inbound, servers: servers.subscribe(), joins: joins.clone() };
        let (id, has_room) = (ServerId::random(), Arc::new(has_room));
        (Self { id, inbound: sender, servers, has_room, joins }, receiver)
    }

    /// Returns the id of this server.
    pub fn server_id(&self) -> &ServerId {
        &self.id
    }

    /// Passes input to the server, and waits while its queue is full. Returns `false` if the server is gone.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the input may be lost.
    pub async fn send(&self, inbound: Inbound) -> bool {
        self.joins.sent(&inbound);
        self.inbound.send(inbound).await.is_ok()
    }

    /// Passes input to the server if its queue is not full.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue is full. If the server is gone, the input is dropped.
    pub fn try_send(&self, inbound: Inbound) -> Result<(), ClusterFull> {
        self.joins.sent(&inbound);
        match self.inbound.try_send(inbound) {
            Err(mpsc::error::TrySendError::Full(inbound)) => {
                if inbound.is_join() {
                    self.joins.0.fetch_sub(1, Ordering::Release);
                }
                Err(ClusterFull)
            }
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Notifies the server that [`Backend::servers`] has changed. When a server joins, this must be called
    /// before the first message of that server is passed on.
    pub fn servers_changed(&self) {
        self.servers.send_replace(());
    }

    /// Returns `true` if a room of a namespace has sockets on this server.
    pub fn has_room(&self, namespace: &str, room: &str) -> bool {
        (self.has_room)(namespace, room)
    }

    /// Returns `true` if a room of a namespace has sockets on this server, or if messages that add sockets to
    /// rooms are queued. If not, a broadcast to the room need not be decoded.
    pub fn may_have_room(&self, namespace: &str, room: &str) -> bool {
        self.joins.0.load(Ordering::Acquire) > 0 || self.has_room(namespace, room)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inbound.is_closed()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("id", &self.id).finish_non_exhaustive()
    }
}
