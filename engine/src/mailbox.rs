//! What others leave for the task of a session: messages for the client, and commands.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use parking_lot::Mutex;

use crate::{
    SlowConsumer,
    limits::{Limit, Limits},
    proto::{dialect::Dialect, frame::Frame, packet::TransportKind, session::CloseReason, sid::Sid},
    slow_consumer::drop_oldest,
    transport::{
        polling::{self, Post},
        websocket::WebSocket,
    },
    waiters::Waiters,
};

/// The places that the queue of an idle session may keep: what its first message takes.
const KEPT_FRAMES: usize = 4;

/// How many bytes leave the queue at once while some of it may be dropped: what has left cannot be any more.
const DROPPABLE_BATCH: usize = 64 * 1024;

/// What is to happen to a session.
pub(crate) enum Command {
    Poll(polling::Poll),
    Post(Post),
    Probe(Box<WebSocket>),
    Close(CloseReason),
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
    /// Too much waits for this client already: it is being disconnected, unless its messages may be dropped.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the session is closed",
            Self::Full => "the client does not take its messages",
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

struct Mailbox {
    sid: Sid,
    websocket: AtomicBool,
    dialect: Dialect,
    max_buffered: usize,
    limits: Arc<Limits>,
    queue: Mutex<Queue>,
}

struct Queue {
    frames: VecDeque<Frame>,
    /// The bytes of `frames`, and of those that the task has taken and not yet written.
    buffered: usize,
    /// Those of `frames` that may be dropped.
    droppable: usize,
    commands: Vec<Command>,
    waker: Option<Waker>,
    /// Who waits until there is room for a message.
    waiters: Waiters,
    /// Whether the task sleeps: then, and only then, the next arrival wakes it that it can act on.
    asleep: bool,
    /// Whether the task was to be woken while it was awake.
    woken: bool,
    /// When bytes of a request came that is not complete yet.
    heard: Option<Instant>,
    /// Whether what is sent now would leave at once.
    writable: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Messages are refused.
    Closed,
    /// The task has ended: commands are refused too.
    Gone,
}

impl Queue {
    /// Takes messages that cost so much.
    fn push(&mut self, frames: &[Frame], len: usize) {
        self.buffered += len;
        self.frames.extend(frames.iter().cloned());
        self.offer();
    }

    fn push_droppable(&mut self, frames: &[Frame], len: usize) {
        self.buffered += len;
        self.droppable += len;
        let copies = frames.iter().cloned().enumerate();
        self.frames.extend(copies.map(|(at, frame)| frame.droppable(at == 0)));
        self.offer();
    }

    /// Wakes the task if messages can leave. It takes them by itself when the client is ready for more, so that one
    /// which does not read costs nothing but its place in the queue.
    fn offer(&mut self) {
        if self.writable {
            self.wake();
        }
    }

    /// Takes the first frames, about a batch; frames that belong together stay so.
    #[cold]
    fn take_some(&mut self) -> VecDeque<Frame> {
        let (mut batch, mut len) = (VecDeque::new(), 0);
        while let Some(frame) =
            self.frames.pop_front_if(|next| len < DROPPABLE_BATCH || next.belongs_to_previous())
        {
            len += frame.cost();
            self.droppable -= if frame.is_droppable() { frame.cost() } else { 0 };
            batch.push_back(frame);
        }
        batch
    }

    /// Refuses messages from now on.
    fn close(&mut self, state: State) {
        self.state = state;
        self.waiters.wake_all();
    }

    /// Bytes have left: whoever waits for room may have it now.
    fn written(&mut self, len: usize, max_buffered: usize) {
        self.buffered -= len;
        self.waiters.wake_first(|len| has_room(self.buffered, len, max_buffered));
    }

    fn wake(&mut self) {
        if std::mem::take(&mut self.asleep)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// Whether a message may join those that wait. One is always taken when nothing waits.
fn has_room(buffered: usize, len: usize, max_buffered: usize) -> bool {
    buffered == 0 || buffered + len <= max_buffered
}

impl Mailbox {
    /// Makes room for a message of that cost, or says that there is none.
    #[cold]
    fn overflow(&self, queue: &mut Queue, len: usize, policy: SlowConsumer) -> Result<(), SendError> {
        self.limits.hit(Limit::MaxBuffered);
        let kept = queue.buffered - queue.droppable;
        match policy {
            SlowConsumer::Disconnect => {
                queue.commands.push(Command::Close(CloseReason::SlowConsumer));
                queue.close(State::Closed);
                queue.wake();
                Err(SendError::Full)
            }
            // Even alone, a message need not fit.
            SlowConsumer::DropOldest if kept == 0 || kept + len <= self.max_buffered => {
                let needed = (queue.buffered + len - self.max_buffered).min(queue.droppable);
                let (dropped, freed) = drop_oldest(&mut queue.frames, needed);
                queue.buffered -= freed;
                queue.droppable -= freed;
                self.limits.drop_messages(dropped);
                Ok(())
            }
            SlowConsumer::DropNewest | SlowConsumer::DropOldest => {
                self.limits.drop_messages(1);
                Err(SendError::Full)
            }
        }
    }
}

impl SessionHandle {
    pub(crate) fn new(
        sid: Sid,
        transport: TransportKind,
        dialect: Dialect,
        max_buffered: usize,
        limits: Arc<Limits>,
    ) -> Self {
        Self(Arc::new(Mailbox {
            sid,
            websocket: AtomicBool::new(transport == TransportKind::WebSocket),
            dialect,
            max_buffered,
            limits,
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

    /// Sends messages that belong together and must not be lost: no other message comes between them.
    ///
    /// Never blocks and never waits. The messages of one thread leave in the order in which they were sent.
    /// `Ok` means that they were queued; the client may be gone before it reads them.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after the end of the session. [`SendError::Full`] when more than
    /// [`max_buffered`](crate::EngineConfig::max_buffered) bytes would wait: the client does not keep up, and
    /// its session ends with [`CloseReason::SlowConsumer`].
    pub fn send(&self, frames: &[Frame]) -> Result<(), SendError> {
        self.send_droppable(frames, SlowConsumer::Disconnect)
    }

    /// As [`send`](Self::send), with a say in what happens when the client does not keep up. The
    /// [default](field@crate::EngineConfig::slow_consumer) of the server does not count here: pass it if it is meant.
    ///
    /// Messages that were sent together are dropped together. See also
    /// [`Engine::dropped_messages`](crate::Engine::dropped_messages).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); but with a policy that drops messages, [`SendError::Full`] means that this one was
    /// dropped, and the session goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::{Frame, SendError, SessionHandle, SlowConsumer};
    ///
    /// fn position(session: &SessionHandle, text: &str) -> Result<(), SendError> {
    ///     session.send_droppable(&[Frame::text(text)], SlowConsumer::DropOldest)
    /// }
    /// ```
    #[inline]
    pub fn send_droppable(&self, frames: &[Frame], policy: SlowConsumer) -> Result<(), SendError> {
        let queue = &mut *self.0.queue.lock();
        if queue.state != State::Open {
            return Err(SendError::Closed);
        }
        let len: usize = frames.iter().map(Frame::cost).sum();
        if !has_room(queue.buffered, len, self.0.max_buffered) {
            self.0.overflow(queue, len, policy)?;
        }
        if policy == SlowConsumer::DropOldest {
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
        let mut waiting = self.waiting();
        poll_fn(move |cx| waiting.poll_send(cx, frames))
    }

    /// A place in the line for [`send_wait`](Self::send_wait), for messages that are made at the last moment.
    pub fn waiting(&self) -> Waiting<'_> {
        Waiting { mailbox: &self.0, ticket: None }
    }

    /// Sends messages if they would leave at once, and forgets them otherwise. Says whether they were taken.
    ///
    /// Whatever [`SlowConsumer`] says, they are the first to go: one is taken only when nothing waits.
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
            self.0.limits.drop_messages(1);
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
        self.0.limits.hit(limit);
    }

    /// Takes note of bytes of a request: the client lives. The task asks for it when it would end the session.
    pub(crate) fn heard(&self, now: Instant) {
        self.0.queue.lock().heard = Some(now);
    }

    pub(crate) fn take_heard(&self) -> Option<Instant> {
        self.0.queue.lock().heard.take()
    }

    /// The bytes that wait for the client, with a small overhead for each message.
    pub fn buffered(&self) -> usize {
        self.0.queue.lock().buffered
    }

    /// Leaves a command for the task. After the end of the task it is dropped, and with it what would answer.
    pub(crate) fn command(&self, command: Command) {
        let queue = &mut *self.0.queue.lock();
        if queue.state != State::Gone {
            queue.commands.push(command);
            queue.wake();
        }
    }

    pub(crate) fn upgraded(&self) {
        self.0.websocket.store(true, Ordering::Relaxed);
    }

    /// `written` bytes have left.
    pub(crate) fn written(&self, written: usize) {
        self.0.queue.lock().written(written, self.0.max_buffered);
    }

    /// Takes the commands; first, `written` bytes have left.
    pub(crate) fn take_commands(&self, written: usize) -> Vec<Command> {
        let queue = &mut *self.0.queue.lock();
        queue.written(written, self.0.max_buffered);
        queue.asleep = false;
        std::mem::take(&mut queue.commands)
    }

    pub(crate) fn has_frames(&self) -> bool {
        !self.0.queue.lock().frames.is_empty()
    }

    /// Takes all frames.
    pub(crate) fn take_frames(&self) -> VecDeque<Frame> {
        let queue = &mut *self.0.queue.lock();
        queue.droppable = 0;
        std::mem::take(&mut queue.frames)
    }

    /// Takes the frames that are to be written next: all of them, unless some may be dropped and should rather wait
    /// here, where they can be. Says also whether there are commands.
    pub(crate) fn take_batch(&self) -> (VecDeque<Frame>, bool) {
        let queue = &mut *self.0.queue.lock();
        let commanded = !queue.commands.is_empty();
        if queue.droppable > 0 && queue.buffered > DROPPABLE_BATCH {
            return (queue.take_some(), commanded);
        }
        queue.droppable = 0;
        (std::mem::take(&mut queue.frames), commanded)
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
        queue.written(written, self.0.max_buffered);
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
///     let mut waiting = session.waiting();
///     poll_fn(|cx| waiting.poll_send(cx, &[Frame::text(&format!("{:9}", start.elapsed().as_secs()))])).await
/// }
/// ```
pub struct Waiting<'a> {
    mailbox: &'a Mailbox,
    ticket: Option<u64>,
}

impl Waiting<'_> {
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
        if !queue.waiters.is_first(*ticket) || !has_room(queue.buffered, len, mailbox.max_buffered) {
            queue.waiters.wait(ticket, len, cx.waker());
            return Poll::Pending;
        }
        if let Some(ticket) = ticket.take() {
            queue.waiters.leave(ticket);
        }
        queue.push(frames, len);
        queue.written(0, mailbox.max_buffered);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let queue = &mut *self.mailbox.queue.lock();
            queue.waiters.leave(ticket);
            queue.written(0, self.mailbox.max_buffered);
        }
    }
}

impl fmt::Debug for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("ticket", &self.ticket).finish_non_exhaustive()
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
