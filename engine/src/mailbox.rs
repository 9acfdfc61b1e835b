//! What others leave for the task of a session: messages for the client, and commands.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Instant,
};

use parking_lot::Mutex;

use crate::{
    proto::{dialect::Dialect, frame::Frame, packet::TransportKind, session::CloseReason, sid::Sid},
    transport::{
        polling::{Poll, Post},
        websocket::WebSocket,
    },
};

/// The places that the queue of an idle session may keep: what its first message takes.
const KEPT_FRAMES: usize = 4;

/// What is to happen to a session.
pub(crate) enum Command {
    Poll(Poll),
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
    /// Too much waits for this client already: it is being disconnected.
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
    queue: Mutex<Queue>,
}

struct Queue {
    frames: VecDeque<Frame>,
    /// The bytes of `frames`, and of those that the task has taken and not yet written.
    buffered: usize,
    commands: Vec<Command>,
    waker: Option<Waker>,
    /// Whether the task sleeps: then, and only then, the next arrival wakes it.
    asleep: bool,
    /// Whether the task was to be woken while it was awake.
    woken: bool,
    /// When bytes of a request came that is not complete yet.
    heard: Option<Instant>,
    /// From how many bytes on a message is compressed, and the result shared with other recipients.
    shared_from: usize,
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
    fn wake(&mut self) {
        if std::mem::take(&mut self.asleep)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

impl SessionHandle {
    pub(crate) fn new(sid: Sid, transport: TransportKind, dialect: Dialect, max_buffered: usize) -> Self {
        Self(Arc::new(Mailbox {
            sid,
            websocket: AtomicBool::new(transport == TransportKind::WebSocket),
            dialect,
            max_buffered,
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                buffered: 0,
                commands: Vec::new(),
                waker: None,
                asleep: false,
                woken: false,
                heard: None,
                shared_from: usize::MAX,
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

    /// Sends messages that belong together: no other message comes between them.
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
        let queue = &mut *self.0.queue.lock();
        if queue.state != State::Open {
            return Err(SendError::Closed);
        }
        let len: usize = frames.iter().map(Frame::cost).sum();
        if queue.buffered > 0 && queue.buffered + len > self.0.max_buffered {
            queue.commands.push(Command::Close(CloseReason::SlowConsumer));
            queue.state = State::Closed;
            queue.wake();
            return Err(SendError::Full);
        }
        queue.buffered += len;
        queue.frames.extend(frames.iter().map(|frame| frame.for_recipient(queue.shared_from)));
        queue.wake();
        Ok(())
    }

    /// Sends messages if they would leave at once, and forgets them otherwise. Says whether they were taken.
    ///
    /// A WebSocket takes them unless an earlier message still waits; long-polling takes them while a poll is
    /// parked. This is what `volatile` means in Node.
    pub fn send_volatile(&self, frames: &[Frame]) -> bool {
        let queue = &mut *self.0.queue.lock();
        let taken = queue.writable && queue.frames.is_empty() && queue.state == State::Open;
        if taken {
            queue.buffered += frames.iter().map(Frame::cost).sum::<usize>();
            queue.frames.extend(frames.iter().map(|frame| frame.for_recipient(queue.shared_from)));
            queue.wake();
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

    /// From now on, shares the compressed forms of messages of at least that many bytes with other recipients.
    pub(crate) fn share_compressed(&self, from: usize) {
        self.0.queue.lock().shared_from = from;
    }

    /// Takes the commands; first, `written` bytes have left.
    pub(crate) fn take_commands(&self, written: usize) -> Vec<Command> {
        let queue = &mut *self.0.queue.lock();
        queue.buffered -= written;
        queue.asleep = false;
        std::mem::take(&mut queue.commands)
    }

    pub(crate) fn has_frames(&self) -> bool {
        !self.0.queue.lock().frames.is_empty()
    }

    /// Takes all frames.
    pub(crate) fn take_frames(&self) -> VecDeque<Frame> {
        std::mem::take(&mut self.0.queue.lock().frames)
    }

    /// Takes an empty queue back. A small one stays with the session, so that the next message needs no allocation;
    /// one that grew is freed.
    pub(crate) fn give_back(&self, spare: VecDeque<Frame>) {
        if (1..=KEPT_FRAMES).contains(&spare.capacity()) {
            let queue = &mut *self.0.queue.lock();
            if queue.frames.capacity() == 0 {
                queue.frames = spare;
            }
        }
    }

    /// Puts the task to sleep, unless something has arrived that it can act on. `written` bytes have left.
    pub(crate) fn sleep(
        &self,
        cx: &Context<'_>,
        written: usize,
        frames_may_go: bool,
        writable: bool,
    ) -> bool {
        let queue = &mut *self.0.queue.lock();
        queue.buffered -= written;
        queue.writable = writable;
        let woken = std::mem::take(&mut queue.woken);
        if woken || !queue.commands.is_empty() || (frames_may_go && !queue.frames.is_empty()) {
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
        self.0.queue.lock().state = State::Closed;
    }

    /// The task is gone: refuses commands too, and frees what is left.
    pub(crate) fn abandon(&self) {
        let queue = &mut *self.0.queue.lock();
        queue.state = State::Gone;
        queue.waker = None;
        queue.frames = VecDeque::new();
        queue.commands = Vec::new();
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
