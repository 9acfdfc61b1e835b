//! Waiting for room in the send queue.

use std::{
    fmt,
    task::{Context, Poll},
};

use super::{
    SendError,
    queue::{Mailbox, State, has_room},
};
use crate::proto::frame::Frame;

/// A position in the queue of senders that wait for room. Dropping the waiter gives up the position. Created
/// by [`SessionHandle::send_waiter`](crate::SessionHandle::send_waiter).
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
    pub(super) mailbox: &'a Mailbox,
    pub(super) ticket: Option<u64>,
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
            // The messages exist while they wait, so the budget counts them.
            for frame in frames {
                frame.charge(&mailbox.outbound.budget);
            }
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
