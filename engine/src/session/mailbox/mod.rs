//! The mailbox of a session, which contains outgoing messages and commands for the session's task, and the
//! public [`SessionHandle`].

mod handle;
mod queue;
mod waiter;

use std::{collections::VecDeque, sync::atomic::Ordering, task::Context};

use self::queue::{BATCH, MAX_IDLE_CAPACITY, State};
pub use self::{
    handle::{SendError, SessionHandle},
    waiter::SendWaiter,
};
use crate::{
    metrics::limits::Limit,
    proto::{frame::Frame, session::CloseReason},
    transport::{
        polling::{PollRequest, PostRequest},
        websocket::WebSocket,
    },
};

/// A command for the task of a session.
pub(crate) enum Command {
    Poll(PollRequest),
    Post(Box<PostRequest>),
    Probe(Box<WebSocket>),
    Close(CloseReason),
    /// Closes the session of a slow consumer that has exceeded this limit.
    CloseSlow(Limit),
    /// A POST exceeded a limit. The response to the POST contains the reason.
    PostRefused,
    /// Completes the parked poll with what is queued, or with a NOOP packet.
    #[cfg(feature = "forwarding")]
    ReleasePoll,
    /// The server that has forwarded this poll has died. Unless the client has sent another poll, it may not have
    /// received the response.
    #[cfg(feature = "forwarding")]
    Unconfirmed(crate::transport::polling::PollId),
    /// Closes the session unless its client has sent another poll since the last [`Unconfirmed`](Self::Unconfirmed).
    #[cfg(feature = "forwarding")]
    CloseUnconfirmed,
    /// Stops the task immediately and drops the session.
    Abort,
}

/// The side of the task of the session.
impl SessionHandle {
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

    /// Keeps the frames that the task is writing while it is parked, so that an eviction frees them. Returns the
    /// frames if the queue is short, because no eviction ends such a session.
    pub(crate) fn lend(&self, writing: VecDeque<Frame>) -> Result<(), VecDeque<Frame>> {
        match &mut self.0.queue.lock().backlog {
            Some(backlog) => backlog.writing = writing,
            None => return Err(writing),
        }
        Ok(())
    }

    /// Returns the frames that the task has lent. There are none if the session was evicted.
    pub(crate) fn take_lent(&self) -> VecDeque<Frame> {
        let queue = &mut *self.0.queue.lock();
        queue.backlog.as_mut().map(|backlog| std::mem::take(&mut backlog.writing)).unwrap_or_default()
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
