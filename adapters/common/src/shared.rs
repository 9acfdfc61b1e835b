//! The state of the connection to the broker, and the counters.

use std::{
    collections::VecDeque,
    future::Future,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use engineio::BoxFuture;
use socketio::cluster::ClusterStatus;
use tokio::{sync::watch, time::sleep};

use crate::queue::Queued;

/// The time within which the queue is emptied when the server leaves the cluster.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The state that the tasks of one server share.
#[derive(Debug)]
pub struct Shared {
    max_bytes: usize,
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
    malformed: AtomicU64,
    disconnections: AtomicU64,
    /// The [generation](crate::Wanted::generation) of the channels that the server is subscribed to. `None`
    /// while the broker is not connected.
    subscribed: watch::Sender<Option<u64>>,
    /// `true` while the event log of the cluster is read, or if there is none.
    is_reading: watch::Sender<bool>,
    /// `true` after a failed attempt to connect, until the broker is connected again.
    is_away: AtomicBool,
    /// `true` after the server has left the cluster.
    left: watch::Sender<bool>,
    /// `true` after the server has left and the queue was sent.
    is_flushed: watch::Sender<bool>,
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

    /// Records that the channels of a generation are subscribed. Returns `true` if the broker was not connected
    /// before.
    pub fn set_subscribed(&self, generation: u64) -> bool {
        let is_connected = *self.subscribed.borrow() != Some(generation)
            && self.subscribed.send_replace(Some(generation)).is_none();
        if is_connected {
            self.is_away.store(false, Ordering::Relaxed);
        }
        is_connected
    }

    /// Records that the connection of the subscriptions is lost. Returns `true` if the broker was connected before.
    pub fn set_disconnected(&self) -> bool {
        let was_connected = self.subscribed.send_replace(None).is_some();
        if was_connected {
            self.disconnections.fetch_add(1, Ordering::Relaxed);
        }
        was_connected
    }

    /// Records that the broker cannot be reached. Returns `true` the first time since it was connected.
    pub fn set_unreachable(&self) -> bool {
        !self.is_away.swap(true, Ordering::Relaxed)
    }

    /// Records whether the event log of the cluster is read.
    pub fn set_reading(&self, is_reading: bool) {
        if *self.is_reading.borrow() != is_reading {
            self.is_reading.send_replace(is_reading);
        }
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

    /// Waits until the event log is read and the server is subscribed to the channels of a generation.
    pub fn connected(&self, generation: u64) -> BoxFuture<()> {
        let (mut subscribed, mut is_reading) = (self.subscribed.subscribe(), self.is_reading.subscribe());
        Box::pin(async move {
            // An error means that the server is gone.
            let _ = is_reading.wait_for(|is_reading| *is_reading).await;
            let _ = subscribed.wait_for(|now| now.is_some_and(|now| now >= generation)).await;
        })
    }

    /// Runs the task that receives messages until the server leaves the cluster.
    pub async fn receive_until_left(&self, receive: impl Future<Output = ()>) {
        tokio::select! {
            () = receive => {}
            () = self.leaving() => {}
        }
        self.subscribed.send_replace(None);
    }

    /// Runs the task that sends messages until it has emptied the queue of a server that leaves the cluster, or a
    /// second after the server has left.
    pub async fn send_until_left(&self, send: impl Future<Output = ()>) {
        tokio::select! {
            () = send => {}
            () = async {
                self.leaving().await;
                sleep(FLUSH_TIMEOUT).await;
            } => {}
        }
    }

    /// Makes the server leave the cluster. Returns a future that completes when the queue was sent.
    pub fn leave(&self) -> BoxFuture<()> {
        self.left.send_replace(true);
        let mut is_flushed = self.is_flushed.subscribe();
        Box::pin(async move {
            // An error means that the task is gone.
            let _ = is_flushed.wait_for(|is_flushed| *is_flushed).await;
        })
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

    /// Completes the future of [`leave`](Self::leave).
    pub fn set_flushed(&self) {
        self.is_flushed.send_replace(true);
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

    /// Takes the place of an element in the queue. Returns `false` if the queue is full.
    pub(crate) fn reserve<T>(&self, queued: &Queued<T>) -> bool {
        let before = self.queued_bytes.fetch_add(queued.cost, Ordering::Relaxed);
        // A message that is longer than the limit is accepted by an empty queue.
        let fits = before == 0 || before.saturating_add(queued.cost) <= self.max_bytes;
        if !fits {
            self.release(queued);
        }
        fits
    }

    /// Frees the place of an element in the queue.
    pub fn release<T>(&self, queued: &Queued<T>) {
        self.queued_bytes.fetch_sub(queued.cost, Ordering::Relaxed);
    }

    /// Drops the elements at the front of a backlog that are older than `max_age`.
    pub fn drop_expired<T>(&self, backlog: &mut VecDeque<Queued<T>>, max_age: Duration) {
        let expired = backlog.iter().take_while(|queued| queued.since.elapsed() > max_age).count();
        for queued in backlog.drain(..expired) {
            self.release(&queued);
        }
        self.count_dropped(expired);
    }
}
