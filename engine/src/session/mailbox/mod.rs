//! The mailbox of a session, which contains outgoing messages and commands for the session's task, and the
//! public [`SessionHandle`].

mod queue;

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use parking_lot::Mutex;

use self::queue::{BATCH, MAX_IDLE_CAPACITY, MIN_CHARGED_BYTES, Mailbox, Queue, State, has_room};
use crate::{
    SlowConsumerPolicy,
    metrics::limits::Limit,
    proto::{
        budget::Charge, dialect::Dialect, frame::Frame, packet::TransportKind, session::CloseReason, sid::Sid,
    },
    session::{outbound::Outbound, waiters::Waiters},
    transport::{
        polling::{PollRequest, PostRequest},
        websocket::WebSocket,
    },
};

/// A command for the task of a session.
pub(crate) enum Command {
    Poll(PollRequest),
    Post(PostRequest),
    Probe(Box<WebSocket>),
    Close(CloseReason),
    /// Closes the session of a slow consumer that has exceeded this limit.
    CloseSlow(Limit),
    /// A POST exceeded a limit. The response to the POST contains the reason.
    PostRefused,
    /// Stops the task immediately and drops the session.
    Abort,
}

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
pub struct SessionHandle(Arc<Mailbox>);

impl SessionHandle {
    pub(crate) fn new(sid: Sid, transport: TransportKind, dialect: Dialect, outbound: Arc<Outbound>) -> Self {
        Self(Arc::new(Mailbox {
            sid,
            websocket: AtomicBool::new(transport == TransportKind::WebSocket),
            backlogged: AtomicBool::new(false),
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
    /// [`allow_eio3`](field@crate::EngineConfig::allow_eio3) is set.
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
    /// The queue may hold more than [`max_buffered`](field@crate::EngineConfig::max_buffered) bytes for a
    /// limited time. See [`slow_consumer_grace`](field@crate::EngineConfig::slow_consumer_grace).
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Closed`] if the session is closed. Returns [`SendError::Full`] if more than
    /// [`max_buffered_hard`](field@crate::EngineConfig::max_buffered_hard) bytes would be queued for this
    /// client, or if more than [`max_buffered`](field@crate::EngineConfig::max_buffered) would be queued for
    /// this client and more than [`max_buffered_total`](field@crate::EngineConfig::max_buffered_total) for
    /// all clients together. In both cases nothing is sent and the session continues.
    /// [`send_wait`](Self::send_wait) waits for room instead.
    pub fn send(&self, frames: &[Frame]) -> Result<(), SendError> {
        self.push(frames, None)
    }

    /// Like [`send`](Self::send), with a policy for a full queue. The [default
    /// policy](field@crate::EngineConfig::slow_consumer) of the server does not apply to this method and must
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

    /// Returns a waiter for a call of [`poll_send`](SendWaiter::poll_send). Unlike with
    /// [`send_wait`](Self::send_wait), the messages can be built when there is room.
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

    /// Makes the task of the session call [`Connection::poll`](crate::Connection::poll) soon.
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

    /// Returns `true` if more than [`max_buffered`](field@crate::EngineConfig::max_buffered) bytes are queued
    /// for the client. While this method returns `true`, an application that responds to requests should not
    /// start new requests of this client. The number of queued responses is then limited by how fast the
    /// client reads. Once there is room, [`Connection::poll`](crate::Connection::poll) is called.
    pub fn is_backlogged(&self) -> bool {
        self.0.backlogged.load(Ordering::Relaxed)
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

    /// Returns the load of an open session on the budget. Returns `None` if few bytes are queued or the queue
    /// is locked.
    pub(crate) fn weight(&self, now: Instant) -> Option<u128> {
        let queue = self.0.queue.try_lock()?;
        (queue.backlog.is_some() && queue.state == State::Open).then(|| queue.weight(now))
    }

    /// Closes the session because the server's budget is exhausted, and frees the queue.
    pub(crate) fn evict(&self) {
        let Some(queue) = &mut self.0.queue.try_lock() else { return };
        if queue.state != State::Open {
            return;
        }
        let frames = std::mem::take(&mut queue.frames);
        queue.droppable = 0;
        queue.buffered -= frames.iter().map(Frame::cost).sum::<usize>();
        queue.backlog = None;
        queue.commands.push(Command::CloseSlow(Limit::MaxBufferedTotal));
        queue.close(State::Closed);
        queue.wake();
    }

    /// Queues a command for the task. Once the task has completed, the command is dropped together with any
    /// response channel.
    pub(crate) fn command(&self, command: Command) {
        let queue = &mut *self.0.queue.lock();
        if queue.state != State::TaskEnded {
            queue.commands.push(command);
            queue.wake();
        }
    }

    /// Returns `true` if the session was upgraded from long-polling to WebSocket.
    pub(crate) fn has_upgraded(&self) -> bool {
        self.transport() != self.0.first
    }

    pub(crate) fn upgraded(&self) {
        self.0.websocket.store(true, Ordering::Relaxed);
    }

    /// Removes `written` bytes from the count of queued bytes.
    pub(crate) fn written(&self, written: usize) {
        self.0.written(&mut self.0.queue.lock(), written);
    }

    /// Subtracts `written` bytes from the count of queued bytes, and removes the commands from the queue.
    pub(crate) fn take_commands(&self, written: usize) -> Vec<Command> {
        let queue = &mut *self.0.queue.lock();
        self.0.written(queue, written);
        queue.parked = false;
        std::mem::take(&mut queue.commands)
    }

    pub(crate) fn has_frames(&self) -> bool {
        !self.0.queue.lock().frames.is_empty()
    }

    /// Removes all frames from the queue.
    pub(crate) fn take_frames(&self) -> VecDeque<Frame> {
        self.0.queue.lock().take(usize::MAX)
    }

    /// Removes the frames for the response to a poll from the queue, until their cost reaches `max_buffered`
    /// bytes.
    pub(crate) fn take_poll_frames(&self) -> VecDeque<Frame> {
        self.0.queue.lock().take(self.0.outbound.config.max_buffered)
    }

    /// Removes the next batch of frames to write from the queue, and returns `true` if commands are queued.
    /// Frames beyond the batch stay in the queue, where they can still be dropped.
    pub(crate) fn take_batch(&self) -> (VecDeque<Frame>, bool) {
        let queue = &mut *self.0.queue.lock();
        let commanded = !queue.commands.is_empty();
        (queue.take(BATCH), commanded)
    }

    /// Parks the task unless commands or writable frames are queued. Returns `true` if the task was parked.
    ///
    /// Subtracts `written` bytes from the count of queued bytes first. `spare` is an empty queue. A small
    /// `spare` is kept, so that the next message needs no allocation, and a larger `spare` is freed.
    pub(crate) fn park(
        &self,
        cx: &Context<'_>,
        written: usize,
        writable: bool,
        spare: VecDeque<Frame>,
    ) -> bool {
        let queue = &mut *self.0.queue.lock();
        self.0.written(queue, written);
        if queue.frames.capacity() == 0 && spare.capacity() <= MAX_IDLE_CAPACITY {
            queue.frames = spare;
        }
        queue.writable = writable;
        let notified = std::mem::take(&mut queue.notified);
        if notified || !queue.commands.is_empty() || (writable && !queue.frames.is_empty()) {
            return false;
        }
        queue.parked = true;
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        true
    }

    /// Rejects messages from now on.
    pub(crate) fn close_queue(&self) {
        self.0.queue.lock().close(State::Closed);
    }

    /// Rejects messages and commands from now on, and frees everything in the queue. Called when the task
    /// completes.
    pub(crate) fn task_ended(&self) {
        let queue = &mut *self.0.queue.lock();
        queue.close(State::TaskEnded);
        queue.waker = None;
        queue.frames = VecDeque::new();
        queue.backlog = None;
        queue.commands = Vec::new();
    }
}

/// A position in the queue of senders that wait for room. Dropping the waiter gives up the position. Created
/// by [`SessionHandle::send_waiter`].
///
/// # Examples
///
/// ```
/// use std::{future::poll_fn, time::Instant};
/// use engineio::{Frame, SendError, SessionHandle};
///
/// /// Sends the time that has elapsed when there is room.
/// async fn tell(session: &SessionHandle, start: Instant) -> Result<(), SendError> {
///     let mut waiting = session.send_waiter();
///     poll_fn(|cx| waiting.poll_send(cx, &[Frame::text(&format!("{:9}", start.elapsed().as_secs()))])).await
/// }
/// ```
pub struct SendWaiter<'a> {
    mailbox: &'a Mailbox,
    ticket: Option<u64>,
}

impl SendWaiter<'_> {
    /// Sends messages as a unit if there is room and no other sender is ahead. Otherwise, registers the task
    /// to be woken. The messages may differ from call to call if the cost of the messages does not change.
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Closed`] if the session is closed.
    pub fn poll_send(&mut self, cx: &Context<'_>, frames: &[Frame]) -> Poll<Result<(), SendError>> {
        let len = frames.iter().map(Frame::cost).sum();
        let Self { mailbox, ticket } = self;
        let queue = &mut *mailbox.queue.lock();
        if queue.state != State::Open {
            return Poll::Ready(Err(SendError::Closed));
        }
        let max_buffered = mailbox.outbound.config.max_buffered;
        if !queue.waiters.is_first(*ticket) || !has_room(queue.buffered, len, max_buffered) {
            queue.waiters.wait(ticket, len, cx.waker());
            return Poll::Pending;
        }
        if let Some(ticket) = ticket.take() {
            queue.waiters.leave(ticket);
        }
        mailbox.charge_backlog(queue, frames, len);
        queue.push(frames, len);
        mailbox.written(queue, 0);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SendWaiter<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let queue = &mut *self.mailbox.queue.lock();
            queue.waiters.leave(ticket);
            self.mailbox.written(queue, 0);
        }
    }
}

impl fmt::Debug for SendWaiter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendWaiter").field("ticket", &self.ticket).finish_non_exhaustive()
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
