//! What others leave for the task of a session: messages for the client, and commands.

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

use self::queue::{BATCH, KEPT_FRAMES, Mailbox, Queue, State, UNCHARGED, has_room};
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

/// What is to happen to a session.
pub(crate) enum Command {
    Poll(PollRequest),
    Post(PostRequest),
    Probe(Box<WebSocket>),
    Close(CloseReason),
    /// Ends the session of a slow consumer, which has hit this limit.
    CloseSlow(Limit),
    /// A POST went beyond a limit, and is answered so.
    PostRefused,
    /// Drops what is left of the session.
    Abort,
}

/// A message was not taken.
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
    /// The session has ended.
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

/// A session, from outside of its task. Cheap to clone.
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
            unchecked: outbound.config.max_buffered.min(UNCHARGED),
            outbound,
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                buffered: 0,
                droppable: 0,
                commands: Vec::new(),
                waker: None,
                waiters: Waiters::default(),
                asleep: false,
                woken: false,
                heard: None,
                writable: transport == TransportKind::WebSocket,
                state: State::Open,
                backlog: None,
            }),
        }))
    }

    /// The id of the session: a secret of the client, see [`Sid`].
    pub fn id(&self) -> &Sid {
        &self.0.sid
    }

    /// The transport that carries the session now.
    pub fn transport(&self) -> TransportKind {
        if self.0.websocket.load(Ordering::Relaxed) {
            TransportKind::WebSocket
        } else {
            TransportKind::Polling
        }
    }

    /// The revision of the Engine.IO protocol that the client speaks: 4, or 3 if
    /// [`allow_eio3`](field@crate::EngineConfig::allow_eio3) lets it.
    pub fn protocol(&self) -> u8 {
        self.0.dialect.revision.number()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.0.dialect
    }

    /// Sends messages that belong together: no other message comes between them.
    ///
    /// Never blocks and never waits. The messages of one thread leave in the order in which they were sent.
    /// `Ok` means that they were queued; the client may be gone before it reads them.
    ///
    /// More than [`max_buffered`](field@crate::EngineConfig::max_buffered) bytes may wait for a time; see
    /// [`slow_consumer_grace`](field@crate::EngineConfig::slow_consumer_grace).
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after the end of the session. [`SendError::Full`] when more than
    /// [`max_buffered_hard`](field@crate::EngineConfig::max_buffered_hard) bytes would wait for this client, or when
    /// more than [`max_buffered`](field@crate::EngineConfig::max_buffered) wait for it and
    /// [`max_buffered_total`](field@crate::EngineConfig::max_buffered_total) for all clients together: nothing was
    /// sent, and the session goes on. [`send_wait`](Self::send_wait) waits for room instead.
    pub fn send(&self, frames: &[Frame]) -> Result<(), SendError> {
        self.push(frames, None)
    }

    /// As [`send`](Self::send), with a say in what happens when the client does not keep up. The
    /// [default](field@crate::EngineConfig::slow_consumer) of the server does not count here: pass it if it is meant.
    ///
    /// Messages that were sent together are dropped together. See also
    /// [`Engine::dropped_messages`](crate::Engine::dropped_messages).
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after the end of the session. [`SendError::Full`] if there is no room: as the policy says,
    /// the session ends with [`CloseReason::SlowConsumer`], or this message was dropped and the session goes on.
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

    /// Queues messages. Without a policy, a full queue refuses them.
    #[expect(clippy::inline_always, reason = "a broadcast calls it for each of its recipients")]
    #[inline(always)]
    fn push(&self, frames: &[Frame], policy: Option<SlowConsumerPolicy>) -> Result<(), SendError> {
        let queue = &mut *self.0.queue.lock();
        if queue.state != State::Open {
            return Err(SendError::Closed);
        }
        let len: usize = frames.iter().map(Frame::cost).sum();
        if queue.buffered + len > self.0.unchecked {
            self.0.check(queue, frames, len, policy)?;
        }
        if policy == Some(SlowConsumerPolicy::DropOldest) {
            queue.push_droppable(frames, len);
        } else {
            queue.push(frames, len);
        }
        Ok(())
    }

    /// As [`send`](Self::send), but waits until there is room.
    ///
    /// Of several that wait for one session, the first comes first. `send` does not wait for them, and takes the room
    /// that there is.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if the session ends first.
    ///
    /// # Cancel safety
    ///
    /// Nothing has been sent if the future is dropped before it is ready.
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
        let mut waiting = self.send_waiter();
        poll_fn(move |cx| waiting.poll_send(cx, frames))
    }

    /// A place in the line for [`send_wait`](Self::send_wait), for messages that are made at the last moment.
    pub fn send_waiter(&self) -> SendWaiter<'_> {
        SendWaiter { mailbox: &self.0, ticket: None }
    }

    /// Sends messages if they would leave at once, and forgets them otherwise. Says whether they were taken.
    ///
    /// Whatever [`SlowConsumerPolicy`] says, they are the first to go: one is taken only when nothing waits.
    ///
    /// A WebSocket takes them unless an earlier message still waits; long-polling takes them while a poll is
    /// parked. This is what `volatile` means in Node.
    pub fn send_volatile(&self, frames: &[Frame]) -> bool {
        let queue = &mut *self.0.queue.lock();
        let taken = queue.writable && queue.frames.is_empty() && queue.state == State::Open;
        if taken {
            queue.push(frames, frames.iter().map(Frame::cost).sum());
        }
        if !taken && !frames.is_empty() {
            self.0.outbound.limits.drop_messages(1);
        }
        taken
    }

    /// Ends the session, after the messages that were sent before. Does nothing if it has ended.
    pub fn close(&self) {
        self.close_for(CloseReason::ForcedClose);
    }

    /// As [`close`](Self::close), for a client that broke the application's protocol: a WebSocket hears so by its
    /// close code.
    pub fn close_for_violation(&self) {
        self.close_for(CloseReason::Violation);
    }

    pub(crate) fn close_for(&self, reason: CloseReason) {
        self.command(Command::Close(reason));
    }

    /// Makes the task of the session call [`Connection::poll`](crate::Connection::poll) soon.
    pub fn wake(&self) {
        let queue = &mut *self.0.queue.lock();
        queue.woken = true;
        queue.wake();
    }

    /// A limit was hit by this client.
    pub(crate) fn hit(&self, limit: Limit) {
        self.0.outbound.limits.hit(limit);
    }

    /// Takes note of bytes of a request: the client lives. The task asks for it when it would end the session.
    pub(crate) fn record_activity(&self, now: Instant) {
        self.0.queue.lock().heard = Some(now);
    }

    pub(crate) fn sync_activity(&self) -> Option<Instant> {
        self.0.queue.lock().heard.take()
    }

    /// The bytes that wait for the client, with a small overhead for each message.
    pub fn buffered(&self) -> usize {
        self.0.queue.lock().buffered
    }

    /// Counts bytes that are on their way to the client outside of the queue, if they are many.
    pub(crate) fn charge(&self, bytes: usize) -> Option<Charge> {
        (bytes > UNCHARGED).then(|| self.0.outbound.budget.charge(bytes))
    }

    /// Whether more than [`max_buffered`](field@crate::EngineConfig::max_buffered) bytes wait for the client. An
    /// application that answers requests should start no new ones of this client meanwhile, so that its answers are
    /// bounded by what it reads. When there is room again, [`Connection::poll`](crate::Connection::poll) is called.
    pub fn is_backlogged(&self) -> bool {
        self.0.backlogged.load(Ordering::Relaxed)
    }

    /// When the client is a slow consumer, unless it takes its messages before.
    pub(crate) fn slow_at(&self) -> Option<Instant> {
        if !self.is_backlogged() {
            return None;
        }
        let queue = self.0.queue.lock();
        let (since, _) = queue.backlog.as_ref().filter(|_| queue.state == State::Open)?.above?;
        Some(since + self.0.outbound.config.slow_consumer_grace)
    }

    /// How much an open session burdens the budget. `None` if few bytes wait, or the queue is locked.
    pub(crate) fn weight(&self, now: Instant) -> Option<u128> {
        let queue = self.0.queue.try_lock()?;
        (queue.backlog.is_some() && queue.state == State::Open).then(|| queue.weight(now))
    }

    /// Ends the session because the budget of the server is used up, and frees what waits for its client.
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

    /// Leaves a command for the task. After the end of the task it is dropped, and with it what would answer.
    pub(crate) fn command(&self, command: Command) {
        let queue = &mut *self.0.queue.lock();
        if queue.state != State::Gone {
            queue.commands.push(command);
            queue.wake();
        }
    }

    /// Whether a WebSocket has taken over from long-polling.
    pub(crate) fn has_upgraded(&self) -> bool {
        self.transport() != self.0.first
    }

    pub(crate) fn upgraded(&self) {
        self.0.websocket.store(true, Ordering::Relaxed);
    }

    /// `written` bytes have left.
    pub(crate) fn written(&self, written: usize) {
        self.0.written(&mut self.0.queue.lock(), written);
    }

    /// Takes the commands; first, `written` bytes have left.
    pub(crate) fn take_commands(&self, written: usize) -> Vec<Command> {
        let queue = &mut *self.0.queue.lock();
        self.0.written(queue, written);
        queue.asleep = false;
        std::mem::take(&mut queue.commands)
    }

    pub(crate) fn has_frames(&self) -> bool {
        !self.0.queue.lock().frames.is_empty()
    }

    /// Takes all frames.
    pub(crate) fn take_frames(&self) -> VecDeque<Frame> {
        self.0.queue.lock().take(usize::MAX)
    }

    /// Takes the frames for the answer to a poll: no more than `max_buffered` bytes, or one message.
    pub(crate) fn take_answer(&self) -> VecDeque<Frame> {
        self.0.queue.lock().take(self.0.outbound.config.max_buffered)
    }

    /// Takes the frames that are to be written next: a batch, so that what cannot leave yet waits here, where it can be
    /// dropped. Says also whether there are commands.
    pub(crate) fn take_batch(&self) -> (VecDeque<Frame>, bool) {
        let queue = &mut *self.0.queue.lock();
        let commanded = !queue.commands.is_empty();
        (queue.take(BATCH), commanded)
    }

    /// Puts the task to sleep, unless something has arrived that it can act on. `written` bytes have left, and an
    /// empty queue is left over: a small one stays with the session, so that the next message needs no allocation; one
    /// that grew is freed.
    pub(crate) fn sleep(
        &self,
        cx: &Context<'_>,
        written: usize,
        writable: bool,
        spare: VecDeque<Frame>,
    ) -> bool {
        let queue = &mut *self.0.queue.lock();
        self.0.written(queue, written);
        if queue.frames.capacity() == 0 && spare.capacity() <= KEPT_FRAMES {
            queue.frames = spare;
        }
        queue.writable = writable;
        let woken = std::mem::take(&mut queue.woken);
        if woken || !queue.commands.is_empty() || (writable && !queue.frames.is_empty()) {
            return false;
        }
        queue.asleep = true;
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        true
    }

    /// Refuses messages from now on.
    pub(crate) fn close_queue(&self) {
        self.0.queue.lock().close(State::Closed);
    }

    /// The task is gone: refuses commands too, and frees what is left.
    pub(crate) fn abandon(&self) {
        let queue = &mut *self.0.queue.lock();
        queue.close(State::Gone);
        queue.waker = None;
        queue.frames = VecDeque::new();
        queue.backlog = None;
        queue.commands = Vec::new();
    }
}

/// Somebody who waits for room to send a message; leaves the line on drop. Made by [`SessionHandle::waiting`].
///
/// # Examples
///
/// ```
/// use std::{future::poll_fn, time::Instant};
/// use engineio::{Frame, SendError, SessionHandle};
///
/// /// Sends how late it is when there is room for it.
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
    /// Sends messages that belong together, if there is room and nobody waits in front; wakes the task otherwise. They
    /// may be others with each call, if they have the same length.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after the end of the session.
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
        mailbox.grow(queue, frames, len);
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
