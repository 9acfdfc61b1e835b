//! The bounded queue of messages to the broker, and the counters of the connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use socketio::cluster::{ClusterFull, ClusterStatus, Message, Operation};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// The maximum number of queued messages. The limit in bytes is usually reached first.
const MAX_MESSAGES: usize = 65_536;
/// The bytes that a message is counted for in addition to its payload.
const OVERHEAD: usize = 512;

/// What waits in a queue.
pub trait Payload {
    /// Returns the approximate number of bytes that the element keeps alive.
    fn payload_len(&self) -> usize;
}

/// Returns the number of bytes of the event of a message.
pub fn message_len(message: &Message) -> usize {
    match &message.operation {
        Operation::Broadcast { packet, .. }
        | Operation::BroadcastWithAck { packet, .. }
        | Operation::ServerEvent { packet, .. } => packet.payload_len(),
        _ => 0,
    }
}

/// An element that waits for its transmission.
#[derive(Debug)]
pub struct Queued<T> {
    /// The element.
    pub content: T,
    /// The time at which the element was queued.
    pub since: Instant,
    cost: usize,
}

/// The state that the tasks of one server share.
#[derive(Debug)]
pub struct Shared {
    max_bytes: usize,
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
    malformed: AtomicU64,
    /// How often the connection was lost.
    pub disconnections: AtomicU64,
    /// The [generation](crate::Wanted::generation) of the channels that the server is subscribed to. `None`
    /// while the broker is not connected.
    pub subscribed: watch::Sender<Option<u64>>,
    /// `true` while the event log of the cluster is read, or if there is none.
    pub is_reading: watch::Sender<bool>,
    /// `true` after a failed attempt to connect, until the broker is connected again.
    pub is_away: AtomicBool,
    /// `true` after the server has left the cluster.
    pub left: watch::Sender<bool>,
    /// `true` after the server has left and the queue was sent.
    pub is_flushed: watch::Sender<bool>,
}

impl Shared {
    /// Creates the state of a server whose queue has this size in bytes.
    pub fn new(max_bytes: usize) -> Self {
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

    /// Returns `true` after the server has left the cluster.
    pub fn has_left(&self) -> bool {
        *self.left.borrow()
    }

    /// Waits until the server leaves the cluster.
    pub async fn leaving(&self) {
        // The sender is part of `self`, so waiting cannot fail.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }

    /// Returns `true` if the server is subscribed to the channels that were wanted at some time since the
    /// broker was connected.
    pub fn is_connected(&self) -> bool {
        self.subscribed.borrow().is_some()
    }

    /// Waits until the server is subscribed to the channels of a generation. Returns `false` if the broker is
    /// not connected.
    pub async fn is_subscribed(&self, generation: u64) -> bool {
        let mut subscribed = self.subscribed.subscribe();
        let known = subscribed.wait_for(|now| now.is_none_or(|now| now >= generation)).await;
        known.is_ok_and(|now| now.is_some())
    }

    /// Returns the state of the connection and the counters.
    pub fn status(&self) -> ClusterStatus {
        let mut status = ClusterStatus::default();
        status.is_connected = self.is_connected() && *self.is_reading.borrow();
        status.disconnections = self.disconnections.load(Ordering::Relaxed);
        status.queued_bytes = self.queued_bytes.load(Ordering::Relaxed);
        status.dropped = self.dropped.load(Ordering::Relaxed);
        status.malformed = self.malformed.load(Ordering::Relaxed);
        status
    }

    /// Counts a message that is ignored, and logs the first one.
    pub fn count_malformed(&self, namespace: &str) {
        if self.malformed.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                namespace,
                "a malformed message of another server is ignored; further ones are counted"
            );
        }
    }

    /// Counts messages that are not sent.
    pub fn count_dropped(&self, messages: usize) {
        self.dropped.fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// Frees the place of an element in the queue.
    pub fn release<T>(&self, queued: &Queued<T>) {
        self.queued_bytes.fetch_sub(queued.cost, Ordering::Relaxed);
    }
}

/// The sending half of the queue.
#[derive(Debug)]
pub struct Queue<T> {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Queued<T>>,
}

impl<T: Payload> Queue<T> {
    /// Creates an empty queue.
    pub fn new(shared: Arc<Shared>) -> (Self, mpsc::Receiver<Queued<T>>) {
        let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
        (Self { shared, sender }, receiver)
    }

    /// Queues an element. After the server has left, the element is ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue is full. Then the element is counted as dropped.
    pub fn push(&self, content: T) -> Result<(), ClusterFull> {
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(usize);

    impl Payload for Bytes {
        fn payload_len(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn the_bytes_are_limited_exactly() {
        let shared = Arc::new(Shared::new(2_000));
        let (queue, mut receiver) = Queue::new(shared.clone());
        // A long message is accepted by an empty queue.
        queue.push(Bytes(5_000)).unwrap();
        assert_eq!(queue.push(Bytes(0)), Err(ClusterFull));
        shared.release(&receiver.try_recv().unwrap());
        queue.push(Bytes(488)).unwrap();
        queue.push(Bytes(488)).unwrap();
        assert_eq!(shared.status().queued_bytes, 2_000);
        shared.release(&receiver.try_recv().unwrap());
        assert_eq!(queue.push(Bytes(489)), Err(ClusterFull));
        queue.push(Bytes(488)).unwrap();
        assert_eq!(shared.status().dropped, 2);
    }

    #[test]
    fn the_messages_are_limited_exactly() {
        let shared = Arc::new(Shared::new(usize::MAX));
        let (queue, _receiver) = Queue::new(shared.clone());
        for _ in 0..MAX_MESSAGES {
            queue.push(Bytes(0)).unwrap();
        }
        assert_eq!(queue.push(Bytes(0)), Err(ClusterFull));
        shared.left.send_replace(true);
        queue.push(Bytes(0)).unwrap();
    }
}
