//! The public side of the mailbox.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

use super::{
    Command, SendWaiter,
    queue::{MIN_CHARGED_BYTES, Mailbox, Queue, State},
};
use crate::{
    SlowConsumerPolicy,
    metrics::limits::Limit,
    proto::{
        budget::Charge, dialect::Dialect, frame::Frame, packet::TransportKind, session::CloseReason, sid::Sid,
    },
    session::{outbound::Outbound, waiters::Waiters},
};

/// The error returned by [`SessionHandle::send`] and similar methods if a message was not queued.
///
/// # Examples
///
/// ```
/// use engineio::SendError;
///
/// assert_eq!(SendError::Closed.to_string(), "the session is closed");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The session is closed.
    Closed,
    /// The send queue of the session has no room for the message.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the session is closed",
            Self::Full => "the send queue of the session is full",
        })
    }
}

impl std::error::Error for SendError {}

/// A handle to a session. It is cheap to clone and can be used from any task.
///
/// # Examples
///
/// ```
/// use engineio::{Frame, SendError, SessionHandle};
///
/// fn greet(session: &SessionHandle) -> Result<(), SendError> {
///     session.send(&[Frame::text("hello")])
/// }
/// ```
#[derive(Clone)]
pub struct SessionHandle(pub(super) Arc<Mailbox>);

impl SessionHandle {
    pub(crate) fn new(sid: Sid, transport: TransportKind, dialect: Dialect, outbound: Arc<Outbound>) -> Self {
        Self(Arc::new(Mailbox {
            sid,
            websocket: AtomicBool::new(transport == TransportKind::WebSocket),
            backlogged: AtomicBool::new(false),
            is_heavy: AtomicBool::new(false),
            first: transport,
            dialect,
            unchecked_bytes: outbound.config.max_buffered.min(MIN_CHARGED_BYTES),
            outbound,
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                buffered: 0,
                droppable: 0,
                commands: Vec::new(),
                waker: None,
                waiters: Waiters::default(),
                parked: false,
                notified: false,
                last_activity: None,
                writable: transport == TransportKind::WebSocket,
                state: State::Open,
                backlog: None,
            }),
        }))
    }

    /// Returns the id of the session. The id is a secret of the client. See [`Sid`].
    pub fn id(&self) -> &Sid {
        &self.0.sid
    }

    /// Returns the current transport of the session.
    pub fn transport(&self) -> TransportKind {
        if self.0.websocket.load(Ordering::Relaxed) {
            TransportKind::WebSocket
        } else {
            TransportKind::Polling
        }
    }

    /// Returns the revision of the Engine.IO protocol that the client uses. The revision is 4, or may be 3 if
    /// [`allow_eio3`](crate::EngineConfig::allow_eio3) is set.
    pub fn protocol(&self) -> u8 {
        self.0.dialect.revision.number()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.0.dialect
    }

    /// Sends messages as a unit. No other message is sent between them.
    ///
    /// Never blocks and never waits. Messages of one thread are delivered in the order in which they were
    /// sent. `Ok` means that the messages were queued. The client may disconnect before it reads them.
    ///
    /// The queue may hold more than [`max_buffered`](crate::EngineConfig::max_buffered) bytes for a
    /// limited time. See [`slow_consumer_grace`](crate::EngineConfig::slow_consumer_grace).
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Closed`] if the session is closed. Returns [`SendError::Full`] if more than
    /// [`max_buffered_hard`](crate::EngineConfig::max_buffered_hard) bytes would be queued for this
    /// client, or if more than [`max_buffered`](crate::EngineConfig::max_buffered) would be queued for
    /// this client and more than [`max_buffered_total`](crate::EngineConfig::max_buffered_total) for
    /// all clients together. In both cases nothing is sent and the session continues.
    /// [`send_wait`](Self::send_wait) waits for room instead.
    pub fn send(&self, frames: &[Frame]) -> Result<(), SendError> {
        self.push(frames, None)
    }

    /// Like [`send`](Self::send), with a policy for a full queue. The [default
    /// policy](crate::EngineConfig::slow_consumer) of the server does not apply to this method and must
    /// be passed explicitly.
    ///
    /// Messages of one call are dropped together. See
    /// [`Engine::dropped_messages`](crate::Engine::dropped_messages).
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Closed`] if the session is closed, and [`SendError::Full`] if there is no room.
    /// Depending on the policy, the session is then closed with [`CloseReason::SlowConsumer`], or this
    /// message is dropped and the session continues.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::{Frame, SendError, SessionHandle, SlowConsumerPolicy};
    ///
    /// fn position(session: &SessionHandle, text: &str) -> Result<(), SendError> {
    ///     session.send_with(&[Frame::text(text)], SlowConsumerPolicy::DropOldest)
    /// }
    /// ```
    #[inline]
    pub fn send_with(&self, frames: &[Frame], policy: SlowConsumerPolicy) -> Result<(), SendError> {
        self.push(frames, Some(policy))
    }

    /// Queues messages. Without a policy, a full queue returns an error and the session continues.
    #[expect(clippy::inline_always, reason = "a broadcast calls it for each of its recipients")]
    #[inline(always)]
    fn push(&self, frames: &[Frame], policy: Option<SlowConsumerPolicy>) -> Result<(), SendError> {
        let queue = &mut *self.0.queue.lock();
        if queue.state != State::Open {
            return Err(SendError::Closed);
        }
        let len: usize = frames.iter().map(Frame::cost).sum();
        if queue.buffered + len > self.0.unchecked_bytes {
            self.0.check(queue, frames, len, policy)?;
        }
        if policy == Some(SlowConsumerPolicy::DropOldest) {
            queue.push_droppable(frames, len);
        } else {
            queue.push(frames, len);
        }
        Ok(())
    }

    /// Like [`send`](Self::send), but waits until there is room.
    ///
    /// Callers that wait for the same session are served in order. `send` does not wait behind these callers
    /// and uses any room that is available.
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Closed`] if the session is closed before there is room.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing has been sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::{Frame, SendError, SessionHandle};
    ///
    /// async fn export(session: &SessionHandle, lines: &[&str]) -> Result<(), SendError> {
    ///     for line in lines {
    ///         session.send_wait(&[Frame::text(line)]).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn send_wait(&self, frames: &[Frame]) -> impl Future<Output = Result<(), SendError>> + Send {
        let mut waiter = self.send_waiter();
        poll_fn(move |cx| waiter.poll_send(cx, frames))
    }

    /// Returns a waiter, whose [`poll_send`](SendWaiter::poll_send) sends messages once there is room. Unlike with
    /// [`send_wait`](Self::send_wait), each poll may pass other messages, if their cost stays the same.
    pub fn send_waiter(&self) -> SendWaiter<'_> {
        SendWaiter { mailbox: &self.0, ticket: None }
    }

    /// Sends messages if they can be written immediately, and drops them otherwise. Returns `true` if they
    /// were queued.
    ///
    /// [`SlowConsumerPolicy`] does not apply to this method. Messages are dropped whenever another message is
    /// queued.
    ///
    /// On a WebSocket, messages are accepted if no earlier message is queued. On long-polling, messages are
    /// accepted while a poll is parked. Equivalent to `volatile` in Node.js.
    pub fn send_volatile(&self, frames: &[Frame]) -> bool {
        let queue = &mut *self.0.queue.lock();
        let taken = queue.writable && queue.frames.is_empty() && queue.state == State::Open;
        if taken {
            queue.push(frames, frames.iter().map(Frame::cost).sum());
        }
        if !taken && !frames.is_empty() {
            self.0.outbound.limits.count_dropped(1);
        }
        taken
    }

    /// Closes the session after all messages that were sent before the call. Does nothing if the session is
    /// already closed.
    pub fn close(&self) {
        self.close_for(CloseReason::ForcedClose);
    }

    /// Like [`close`](Self::close), for a client that violated the application's protocol. On a WebSocket,
    /// the close code indicates the violation.
    pub fn close_for_violation(&self) {
        self.close_for(CloseReason::Violation);
    }

    pub(crate) fn close_for(&self, reason: CloseReason) {
        self.command(Command::Close(reason));
    }

    /// Makes the task of the session call [`Connection::poll_progress`](crate::Connection::poll_progress) soon.
    pub fn wake(&self) {
        let queue = &mut *self.0.queue.lock();
        queue.notified = true;
        queue.wake();
    }

    /// Counts a limit that this client hit.
    pub(crate) fn record_limit_hit(&self, limit: Limit) {
        self.0.outbound.limits.hit(limit);
    }

    /// Records that bytes of a request have arrived. The task reads the time with
    /// [`sync_activity`](Self::sync_activity) before it handles a timeout.
    pub(crate) fn record_activity(&self, now: Instant) {
        self.0.queue.lock().last_activity = Some(now);
    }

    pub(crate) fn sync_activity(&self) -> Option<Instant> {
        self.0.queue.lock().last_activity.take()
    }

    /// Returns the number of queued bytes, including a small overhead for each message.
    pub fn buffered(&self) -> usize {
        self.0.queue.lock().buffered
    }

    /// Charges the budget for bytes in flight outside the queue. Returns `None` for small sizes, which are
    /// not charged.
    pub(crate) fn charge(&self, bytes: usize) -> Option<Charge> {
        (bytes > MIN_CHARGED_BYTES).then(|| self.0.outbound.budget.charge(bytes))
    }

    /// Returns `true` if more than [`max_buffered`](crate::EngineConfig::max_buffered) bytes are queued
    /// for the client. While this method returns `true`, an application that responds to requests should not
    /// start new requests of this client. The number of queued responses is then limited by how fast the
    /// client reads. Once there is room, [`Connection::poll_progress`](crate::Connection::poll_progress) is called.
    #[inline]
    pub fn is_backlogged(&self) -> bool {
        self.0.backlogged.load(Ordering::Relaxed)
    }

    /// Returns `true` if more than 16 KiB were queued for the client at some time.
    #[inline]
    pub fn is_heavy(&self) -> bool {
        self.0.is_heavy.load(Ordering::Relaxed)
    }

    /// Returns `true` if the messages to all clients use up nearly
    /// [`max_buffered_total`](crate::EngineConfig::max_buffered_total), and the next request of this client may add many
    /// bytes: because the client [`is_heavy`](Self::is_heavy), or because `is_heavy_request` returns `true`. While this
    /// method returns `true`, an application that responds to requests should not start that request, and should ask
    /// again after a short time. Other sessions are closed if they do not read.
    #[inline]
    pub fn is_congested(&self, is_heavy_request: impl FnOnce() -> bool) -> bool {
        let outbound = &self.0.outbound;
        !outbound.budget.has_headroom()
            && (self.is_heavy() || is_heavy_request())
            && outbound.stays_congested()
    }

    /// Returns the instant at which the client becomes a slow consumer unless it reads enough before that
    /// instant.
    pub(crate) fn slow_deadline(&self) -> Option<Instant> {
        if !self.is_backlogged() {
            return None;
        }
        let queue = self.0.queue.lock();
        let (since, _) = queue.backlog.as_ref().filter(|_| queue.state == State::Open)?.above?;
        Some(since + self.0.outbound.config.slow_consumer_grace)
    }

    /// Returns the weight that decides which session is evicted when the budget of the server is used up. Returns
    /// `None` if the session is closed, few bytes are queued, or the queue is locked.
    pub(crate) fn weight(&self, now: Instant) -> Option<u128> {
        let queue = self.0.queue.try_lock()?;
        (queue.backlog.is_some() && queue.state == State::Open).then(|| queue.weight(now))
    }

    /// Closes the session because the server's budget is exhausted, and frees the queue, including the message
    /// that is being written.
    pub(crate) fn evict(&self) {
        let Some(mut queue) = self.0.queue.try_lock() else { return };
        if queue.state != State::Open {
            return;
        }
        let removed = queue.evict();
        queue.commands.push(Command::CloseSlow(Limit::MaxBufferedTotal));
        queue.wake();
        drop(queue);
        drop(removed);
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle")
            .field("sid", &self.0.sid)
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}
