//! The interface between a server and the broker that connects it to the other servers.

use std::{
    fmt,
    future::ready,
    num::ParseIntError,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engineio::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::hub::{
    cluster::message::{ClusterFull, Message, Operation, Reply, RequestId, ServerId},
    rooms::Room,
};

/// Connects a server to the other servers of its cluster. Equivalent to the function that creates an adapter
/// in Node.js.
///
/// Crates of brokers implement this trait. Later versions may add methods with a default implementation.
pub trait Broker {
    /// Starts to connect, and returns without waiting for the connection. Messages of other servers are
    /// passed to `inbox`.
    ///
    /// Called once, within a Tokio runtime.
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend>;
}

/// The connection of one server to its broker. No method blocks or waits. All queues are bounded.
///
/// Crates of brokers implement this trait. Later versions may add methods with a default implementation.
pub trait Backend: Send + Sync + 'static {
    /// Queues a message for all other servers. The other servers receive the messages in the order of the
    /// calls.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue is full. Then no server receives the message, or some do not.
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull>;

    /// Like [`publish`](Self::publish), but for a message that the other servers respond to. Requests are received
    /// in the order of the calls too, but may overtake messages that were published before.
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

    /// Returns the event log of the broker, if it has one and [`Inbox::wants_recovery`] is set. Then a
    /// published broadcast that is not volatile is also passed to the inbox of this server, as
    /// [`Inbound::Logged`] in the order of the log. The default implementation returns `None`.
    fn recovery(&self) -> Option<Arc<dyn RecoveryStore>> {
        None
    }

    /// Removes this server from the cluster. Afterwards, no message is received. The future resolves when the
    /// queued messages are sent; if it is dropped, they are sent nevertheless.
    fn leave(&self) -> BoxFuture<()>;
}

/// Stores sessions of sockets, and reads the event log, so that a client can be recovered by any
/// server of the cluster.
///
/// Crates of brokers implement this trait. Later versions may add methods with a default implementation.
pub trait RecoveryStore: Send + Sync {
    /// Saves a session for the given duration. Queues the request and returns immediately.
    fn save(&self, namespace: &str, session: SavedSession, duration: Duration);

    /// Removes the session with the id `pid`, after the sessions that were saved before. Queues the request and
    /// returns immediately.
    fn remove(&self, namespace: &str, pid: &str);

    /// Removes and returns the session with the id `pid`. Returns `None` if there is no such session in the
    /// namespace, or if the log no longer contains the event at `offset`.
    fn take(&self, namespace: Arc<str>, pid: String, offset: LogOffset) -> BoxFuture<Option<SavedSession>>;

    /// Reads the log after `until` to its end, and returns the messages of the namespace. Returns `None` if the
    /// log no longer contains the event at `start`.
    fn read(&self, namespace: Arc<str>, start: LogOffset, until: LogOffset) -> BoxFuture<Option<LogEntries>>;
}

/// The state of a socket.
#[derive(Debug, Clone)]
pub struct SavedSession {
    /// The id of the socket.
    pub sid: String,
    /// The secret that the client sends to recover the socket.
    pub pid: String,
    /// The rooms of the socket.
    pub rooms: Vec<Room>,
    /// The data of the socket as JSON text, which is an object.
    pub data: Box<str>,
    /// `true` if the socket was connected when the session was saved. Its server may have ended since, or it has not
    /// noticed that the connection is lost.
    pub is_connected: bool,
}

/// A part of the event log.
#[derive(Debug)]
pub struct LogEntries {
    /// The messages of the namespace, with their offsets.
    pub messages: Vec<(LogOffset, Message)>,
    /// The offset of the last entry that was read, of any namespace.
    pub until: LogOffset,
}

/// The position of an entry in the event log. The text is `<milliseconds>-<number>`, as in streams of Redis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogOffset(pub u64, pub u64);

impl fmt::Display for LogOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for LogOffset {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (milliseconds, number) = text.split_once('-').unwrap_or((text, ""));
        // `parse` accepts a sign, which is not part of an offset.
        let digits = |text: &str| if text.starts_with('+') { "".parse() } else { text.parse() };
        Ok(Self(digits(milliseconds)?, digits(number)?))
    }
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
    /// A broadcast that this server or another one has appended to the event log. `None` instead of an offset
    /// means that the message of this server could not be appended, and that clients cannot recover it.
    Logged(Arc<Message>, Option<LogOffset>),
    /// The number of other servers that received a request of this server, after [`Receivers::Counted`].
    /// `None` if the request could not be sent, which may also follow [`Receivers::Known`].
    ReceiverCount(RequestId, Option<usize>),
    /// A server is no longer a member of a namespace. Requests in the namespace stop waiting for it.
    ServerGone {
        /// The path of the namespace.
        namespace: Arc<str>,
        /// The server.
        server: ServerId,
        /// `true` if the server has not announced that it leaves. Pending requests then report it as missing.
        is_lost: bool,
    },
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
    deliver: Arc<Deliver>,
    wants_recovery: bool,
    waiting: Waiting,
}

/// The input that is queued or being handled.
#[derive(Debug, Clone, Default)]
struct Waiting {
    all: Arc<AtomicUsize>,
    /// The messages that add sockets to rooms.
    joins: Arc<AtomicUsize>,
}

impl Waiting {
    fn add(&self, inbound: &Inbound) {
        self.all.fetch_add(1, Ordering::Release);
        if inbound.is_join() {
            self.joins.fetch_add(1, Ordering::Release);
        }
    }

    fn remove(&self, is_join: bool) {
        if is_join {
            self.joins.fetch_sub(1, Ordering::Release);
        }
        self.all.fetch_sub(1, Ordering::Release);
    }
}

impl Inbound {
    pub(crate) fn is_join(&self) -> bool {
        matches!(self, Self::Message(message) if matches!(message.operation, Operation::Join { .. }))
    }
}

/// Returns `true` if a room of a namespace has sockets on this server.
type HasRoom = dyn Fn(&str, &str) -> bool + Send + Sync;

/// Delivers a broadcast. Returns `false` if the message is none.
type Deliver = dyn Fn(&Message) -> bool + Send + Sync;

/// The receiving half of an [`Inbox`].
pub(crate) struct InboxReceiver {
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) servers: watch::Receiver<()>,
    waiting: Waiting,
}

impl InboxReceiver {
    /// Called after input was handled.
    pub(crate) fn handled(&self, is_join: bool) {
        self.waiting.remove(is_join);
    }
}

impl Inbox {
    pub(crate) fn new(
        capacity: usize,
        wants_recovery: bool,
        has_room: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
        deliver: impl Fn(&Message) -> bool + Send + Sync + 'static,
    ) -> (Self, InboxReceiver) {
        let (sender, inbound) = mpsc::channel(capacity);
        let servers = watch::Sender::default();
        let waiting = Waiting::default();
        let receiver = InboxReceiver { inbound, servers: servers.subscribe(), waiting: waiting.clone() };
        let (id, has_room, deliver) = (ServerId::random(), Arc::new(has_room), Arc::new(deliver));
        (Self { id, inbound: sender, servers, has_room, deliver, wants_recovery, waiting }, receiver)
    }

    /// Returns the id of this server.
    pub fn server_id(&self) -> &ServerId {
        &self.id
    }

    /// Returns `true` if connection state recovery is enabled for the server.
    pub fn wants_recovery(&self) -> bool {
        self.wants_recovery
    }

    /// Passes input to the server, and waits while its queue is full. Returns `false` if the server is gone.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the input may be lost.
    pub async fn send(&self, inbound: Inbound) -> bool {
        self.waiting.add(&inbound);
        self.inbound.send(inbound).await.is_ok()
    }

    /// Passes input to the server if its queue is not full.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue is full. If the server is gone, the input is dropped.
    pub fn try_send(&self, inbound: Inbound) -> Result<(), ClusterFull> {
        self.waiting.add(&inbound);
        match self.inbound.try_send(inbound) {
            Err(mpsc::error::TrySendError::Full(inbound)) => {
                self.waiting.remove(inbound.is_join());
                Err(ClusterFull)
            }
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Delivers a broadcast to the sockets of this server at once, in the task of the caller. Returns `false` if the input
    /// is not a broadcast, or if earlier input was not handled yet. Then it must be sent.
    ///
    /// The caller must hold no lock that a [`Backend`] takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::cluster::{Inbound, Inbox};
    ///
    /// async fn receive(inbox: &Inbox, inbound: Inbound) {
    ///     if !inbox.deliver(&inbound) {
    ///         inbox.send(inbound).await;
    ///     }
    /// }
    /// ```
    pub fn deliver(&self, inbound: &Inbound) -> bool {
        let Inbound::Message(message) = inbound else { return false };
        self.waiting.all.load(Ordering::Acquire) == 0 && !self.is_closed() && (self.deliver)(message)
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
        self.waiting.joins.load(Ordering::Acquire) > 0 || self.has_room(namespace, room)
    }

    /// Returns `true` if no input is queued.
    pub fn is_empty(&self) -> bool {
        self.inbound.capacity() == self.inbound.max_capacity()
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
