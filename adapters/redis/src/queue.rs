//! The bounded queue of messages to Redis, and the counters of the connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use socketio::cluster::{ClusterFull, ClusterStatus, Message, Operation, Reply, ServerId};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// The maximum number of queued messages. The limit in bytes is usually reached first.
const MAX_MESSAGES: usize = 65_536;
/// The bytes that a message is counted for in addition to its payload.
const OVERHEAD: usize = 512;

/// A message that waits for its transmission.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) content: Content,
    pub(crate) since: Instant,
    cost: usize,
}

#[derive(Debug)]
pub(crate) enum Content {
    Message(Arc<Message>),
    /// A request, with the generation of the channels that the responses arrive on.
    Request(Arc<Message>, u64),
    Reply(ServerId, Reply),
    /// A broadcast that this server delivers when it reads it from the stream, with its number.
    Logged(Arc<Message>, u64),
    Command(redis::Cmd),
}

/// The state that the tasks of one server share.
#[derive(Debug)]
pub(crate) struct Shared {
    max_bytes: usize,
    queued_bytes: AtomicUsize,
    pub(crate) dropped: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) disconnections: AtomicU64,
    /// The [generation](crate::subscriber::Wanted::generation) of the channels that the server is subscribed to.
    /// `None` while Redis is not connected.
    pub(crate) subscribed: watch::Sender<Option<u64>>,
    /// `true` while the stream of the cluster is read, or if there is none.
    pub(crate) is_reading: watch::Sender<bool>,
    /// `true` after a failed attempt to connect, until Redis is connected again.
    pub(crate) is_away: AtomicBool,
    /// `true` after the server has left the cluster.
    pub(crate) left: watch::Sender<bool>,
    /// `true` after the server has left and the queue was sent.
    pub(crate) is_flushed: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            queued_bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            disconnections: AtomicU64::new(0),
            subscribed: watch::Sender::new(None),
            is_reading: watch::Sender::new(true),
            is_away: AtomicBool::new(false),
            left: watch::Sender::new(false),
            is_flushed: watch::Sender::new(false),
        }
    }

    pub(crate) fn has_left(&self) -> bool {
        *self.left.borrow()
    }

    /// Waits until the server leaves the cluster.
    pub(crate) async fn leaving(&self) {
        // The sender is part of `self`, so waiting cannot fail.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }

    /// Waits until the server is subscribed to the channels of a generation. Returns `false` if Redis is not
    /// connected.
    pub(crate) async fn is_subscribed(&self, generation: u64) -> bool {
        let mut subscribed = self.subscribed.subscribe();
        let known = subscribed.wait_for(|now| now.is_none_or(|now| now >= generation)).await;
        known.is_ok_and(|now| now.is_some())
    }

    pub(crate) fn status(&self) -> ClusterStatus {
        let mut status = ClusterStatus::default();
        status.is_connected = self.subscribed.borrow().is_some() && *self.is_reading.borrow();
        status.disconnections = self.disconnections.load(Ordering::Relaxed);
        status.queued_bytes = self.queued_bytes.load(Ordering::Relaxed);
        status.dropped = self.dropped.load(Ordering::Relaxed);
        status.malformed = self.malformed.load(Ordering::Relaxed);
        status
    }

    /// Counts a message that is ignored, and logs the first one.
    pub(crate) fn count_malformed(&self, namespace: &str) {
        if self.malformed.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                namespace,
                "a malformed message of another server is ignored; further ones are counted"
            );
        }
    }

    pub(crate) fn count_dropped(&self, messages: usize) {
        self.dropped.fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// Frees the place of a message in the queue.
    pub(crate) fn release(&self, queued: &Queued) {
        self.queued_bytes.fetch_sub(queued.cost, Ordering::Relaxed);
    }
}

/// The sending half of the queue.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Queued>,
}

impl Queue {
    pub(crate) fn new(shared: Arc<Shared>) -> (Self, mpsc::Receiver<Queued>) {
        let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
        (Self { shared, sender }, receiver)
    }

    /// Queues a message. After the server has left, the message is ignored.
    pub(crate) fn push(&self, content: Content) -> Result<(), ClusterFull> {
        if self.shared.has_left() {
            return Ok(());
        }
        let cost = content.payload_len() + OVERHEAD;
        let before = self.shared.queued_bytes.fetch_add(cost, Ordering::Relaxed);
        let queued = Queued { content, since: Instant::now(), cost };
        // A message that is longer than the limit is accepted by an empty queue.
        if before > 0 && before.saturating_add(cost) > self.shared.max_bytes {
            self.shared.release(&queued);
            self.shared.count_dropped(1);
            return Err(ClusterFull);
        }
        match self.sender.try_send(queued) {
            Err(mpsc::error::TrySendError::Full(queued)) => {
                self.shared.release(&queued);
                self.shared.count_dropped(1);
                Err(ClusterFull)
            }
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

impl Content {
    fn payload_len(&self) -> usize {
        match self {
            Self::Message(message) | Self::Request(message, _) | Self::Logged(message, _) => {
                match &message.operation {
                    Operation::Broadcast { packet, .. }
                    | Operation::BroadcastWithAck { packet, .. }
                    | Operation::ServerEvent { packet, .. } => packet.payload_len(),
                    _ => 0,
                }
            }
            Self::Reply(_, reply) => reply.payload_len(),
            Self::Command(command) => command.get_packed_command().len(),
        }
    }
}
