//! The bounded queue of messages to the broker.

use std::sync::Arc;

use socketio::cluster::{ClusterFull, Message, Operation};
use tokio::{sync::mpsc, time::Instant};

use crate::shared::Shared;

/// The maximum number of queued messages. The limit in bytes is usually reached first.
const MAX_MESSAGES: usize = 65_536;
/// The bytes that a message is counted for in addition to its payload.
const OVERHEAD: usize = 512;

/// What waits in a queue. The broker implements this trait for its messages.
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
    pub(crate) cost: usize,
}

impl<T> Queued<T> {
    /// Replaces the element, which keeps its place in the queue. Also returns the former element.
    pub fn replace<U>(self, content: U) -> (Queued<U>, T) {
        (Queued { content, since: self.since, cost: self.cost }, self.content)
    }

    /// Returns an element of the same age that has no place in the queue.
    pub fn beside<U>(&self, content: U) -> Queued<U> {
        Queued { content, since: self.since, cost: 0 }
    }
}

/// The sending half of the queue.
#[derive(Debug)]
pub struct Queue<T> {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Queued<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), shared: self.shared.clone() }
    }
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
        let queued = Queued { content, since: Instant::now(), cost };
        if !self.shared.reserve(&queued) {
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
        drop(shared.leave());
        queue.push(Bytes(0)).unwrap();
    }
}
