//! The send queue of one session and its limits.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Instant,
};

use parking_lot::Mutex;

use super::{Command, SendError};
use crate::{
    SlowConsumerPolicy,
    config::overflow::drop_oldest,
    metrics::limits::Limit,
    proto::{budget::Charge, dialect::Dialect, frame::Frame, packet::TransportKind, sid::Sid},
    session::{outbound::Outbound, waiters::Waiters},
};

/// The largest capacity that an idle queue keeps. It equals the capacity allocated for the first message.
pub(super) const MAX_IDLE_CAPACITY: usize = 4;

/// The number of bytes removed from the queue at once for writing. Frames that were removed can no longer be
/// dropped or evicted.
pub(super) const BATCH: usize = 64 * 1024;

/// The number of queued bytes up to which a session is not charged.
pub(super) const MIN_CHARGED_BYTES: usize = 16 * 1024;

pub(super) struct Mailbox {
    pub(super) sid: Sid,
    pub(super) websocket: AtomicBool,
    /// The transport that opened the session.
    pub(super) first: TransportKind,
    /// `true` while more than `max_buffered` bytes are queued. Changed under the lock of the queue.
    pub(super) backlogged: AtomicBool,
    /// `true` once more than `unchecked_bytes` were queued.
    pub(super) is_heavy: AtomicBool,
    pub(super) dialect: Dialect,
    /// The number of queued bytes above which the queue is charged and its limits are checked.
    pub(super) unchecked_bytes: usize,
    pub(super) outbound: Arc<Outbound>,
    pub(super) queue: Mutex<Queue>,
}

pub(super) struct Queue {
    pub(super) frames: VecDeque<Frame>,
    /// The cost of `frames`, and of the frames that the task has removed from the queue but not written yet.
    pub(super) buffered: usize,
    /// The cost of the droppable frames in `frames`.
    pub(super) droppable: usize,
    pub(super) commands: Vec<Command>,
    pub(super) waker: Option<Waker>,
    /// Senders that wait for room.
    pub(super) waiters: Waiters,
    /// Set while the task is parked. The next command or writable message wakes the task.
    pub(super) parked: bool,
    /// Set to make the next attempt to park return immediately.
    pub(super) notified: bool,
    /// The last time at which bytes of an incomplete request arrived. `None` once the task has read this
    /// time.
    pub(super) last_activity: Option<Instant>,
    /// `true` if a message sent now can be written immediately.
    pub(super) writable: bool,
    pub(super) state: State,
    /// `Some` while the queue holds more than [`Mailbox::unchecked_bytes`] bytes.
    pub(super) backlog: Option<Box<Backlog>>,
}

/// The charges and timing of a large send queue.
pub(super) struct Backlog {
    /// The charge for the memory of the queue itself. Frames are charged separately.
    pub(super) queue_charge: Charge,
    /// The start of the current grace period above `max_buffered` bytes, and the number of bytes written
    /// since then. The period restarts when this number reaches `max_buffered`.
    pub(super) above: Option<(Instant, usize)>,
    /// The frames that a parked task is writing. They are here so that an eviction frees them at once.
    pub(super) writing: VecDeque<Frame>,
}

impl Backlog {
    fn new(queue_charge: Charge) -> Self {
        Self { queue_charge, above: None, writing: VecDeque::new() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Messages are rejected.
    Closed,
    /// The task has completed. Messages and commands are rejected.
    TaskEnded,
}

impl Queue {
    /// Appends messages whose total cost is `len`.
    pub(super) fn push(&mut self, frames: &[Frame], len: usize) {
        self.buffered += len;
        self.frames.extend(frames.iter().cloned());
        self.wake_if_writable();
    }

    pub(super) fn push_droppable(&mut self, frames: &[Frame], len: usize) {
        self.buffered += len;
        self.droppable += len;
        let copies = frames.iter().cloned().enumerate();
        self.frames.extend(copies.map(|(at, frame)| frame.droppable(at == 0)));
        self.wake_if_writable();
    }

    /// Wakes the task if messages can be written. Otherwise, the task writes the messages once the transport
    /// is writable, so a client that does not read causes no wake-ups.
    pub(super) fn wake_if_writable(&mut self) {
        if self.writable {
            self.wake();
        }
    }

    /// Removes frames from the front until their cost reaches `bytes`. Does not split a group.
    #[cold]
    pub(super) fn take_some(&mut self, bytes: usize) -> VecDeque<Frame> {
        let (mut batch, mut len) = (VecDeque::new(), 0);
        while let Some(frame) = self.frames.pop_front_if(|next| len < bytes || next.continues_group()) {
            len += frame.cost();
            self.droppable -= if frame.is_droppable() { frame.cost() } else { 0 };
            batch.push_back(frame);
        }
        batch
    }

    /// Removes all frames, or frames with a cost of about `bytes` if the queue is larger.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> VecDeque<Frame> {
        if self.buffered > bytes {
            return self.take_some(bytes);
        }
        self.droppable = 0;
        std::mem::take(&mut self.frames)
    }

    /// Returns the weight that decides which session is evicted: `buffered * (1 + t)`, where `t` is the number of
    /// milliseconds since the start of the grace period.
    pub(super) fn weight(&self, now: Instant) -> u128 {
        let above = self.backlog.as_ref().and_then(|backlog| backlog.above);
        let stalled = above.map_or(0, |(since, _)| now.saturating_duration_since(since).as_millis());
        self.buffered as u128 * (1 + stalled)
    }

    /// Removes all frames, including those that a parked task is writing, and closes the queue.
    pub(super) fn evict(&mut self) -> [VecDeque<Frame>; 2] {
        let writing = self.backlog.take().map(|backlog| backlog.writing).unwrap_or_default();
        let removed = [std::mem::take(&mut self.frames), writing];
        self.buffered -= removed.iter().flatten().map(Frame::cost).sum::<usize>();
        self.droppable = 0;
        self.close(State::Closed);
        removed
    }

    /// Rejects messages from now on.
    pub(super) fn close(&mut self, state: State) {
        self.state = state;
        self.waiters.wake_all();
    }

    pub(super) fn wake(&mut self) {
        if std::mem::take(&mut self.parked)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// Returns `true` if a message of cost `len` may be queued. An empty queue accepts any message.
pub(super) fn has_room(buffered: usize, len: usize, max_buffered: usize) -> bool {
    buffered == 0 || buffered + len <= max_buffered
}

impl Mailbox {
    /// Subtracts written bytes and wakes the first waiting sender if there is room for its message.
    #[inline]
    pub(super) fn written(&self, queue: &mut Queue, len: usize) {
        queue.buffered -= len;
        if queue.backlog.is_some() {
            self.update_backlog(queue, len);
        }
        queue.waiters.wake_first(|len| has_room(queue.buffered, len, self.outbound.config.max_buffered));
    }

    #[cold]
    pub(super) fn update_backlog(&self, queue: &mut Queue, len: usize) {
        let max = self.outbound.config.max_buffered;
        if queue.buffered <= max && self.backlogged.swap(false, Ordering::Relaxed) {
            // The application may handle events of the client again.
            queue.notified = true;
        }
        let Some(backlog) = &mut queue.backlog else { return };
        if queue.buffered <= self.unchecked_bytes && backlog.writing.is_empty() {
            queue.backlog = None;
        } else if queue.buffered <= max {
            backlog.above = None;
        } else if let Some((since, taken)) = &mut backlog.above {
            *taken += len;
            if *taken >= max {
                (*since, *taken) = (now(), 0);
            }
        }
    }

    /// Checks the limits for a message of cost `len`, and makes room for the message according to the policy.
    #[cold]
    pub(super) fn check(
        &self,
        queue: &mut Queue,
        frames: &[Frame],
        len: usize,
        policy: Option<SlowConsumerPolicy>,
    ) -> Result<(), SendError> {
        let config = &self.outbound.config;
        if !has_room(queue.buffered, len, config.max_buffered) {
            match policy {
                Some(SlowConsumerPolicy::DropOldest) => self.make_room(queue, len)?,
                Some(SlowConsumerPolicy::DropNewest) => {
                    return Err(self.refuse(queue, Limit::MaxBuffered, policy));
                }
                None | Some(SlowConsumerPolicy::Disconnect) => {
                    if !has_room(queue.buffered, len, config.max_buffered_hard) {
                        return Err(self.refuse(queue, Limit::MaxBufferedHard, policy));
                    }
                }
            }
        }
        // Many clients that are each below `max_buffered` must not exceed the budget together. A client that is
        // owed nothing else is not refused a message; others end in its favour.
        let is_small = queue.buffered + len <= config.max_buffered / 2;
        let is_owed_nothing = queue.buffered == 0;
        if !self.reserve_budget(queue, frames, is_owed_nothing && !is_small) && !is_small && !is_owed_nothing
        {
            return Err(self.refuse(queue, Limit::MaxBufferedTotal, policy));
        }
        self.charge_backlog(queue, frames, len);
        Ok(())
    }

    /// Returns `true` if the budget has room for the frames. Evicts heavier sessions if needed.
    fn reserve_budget(&self, queue: &Queue, frames: &[Frame], is_urgent: bool) -> bool {
        let Outbound { budget, .. } = &*self.outbound;
        let needed = uncharged_cost(frames);
        if !budget.has_room(needed) {
            self.outbound.evict_heaviest(queue.weight(now()), needed, is_urgent);
        }
        budget.has_room(needed)
    }

    /// Refuses a message according to the policy, which may close the session.
    fn refuse(&self, queue: &mut Queue, limit: Limit, policy: Option<SlowConsumerPolicy>) -> SendError {
        match policy {
            None => self.outbound.limits.hit(limit),
            Some(SlowConsumerPolicy::Disconnect) => {
                queue.commands.push(Command::CloseSlow(limit));
                queue.close(State::Closed);
                queue.wake();
            }
            Some(SlowConsumerPolicy::DropNewest | SlowConsumerPolicy::DropOldest) => {
                return self.reject_newest(limit);
            }
        }
        SendError::Full
    }

    pub(super) fn reject_newest(&self, limit: Limit) -> SendError {
        self.outbound.limits.hit(limit);
        self.outbound.limits.count_dropped(1);
        SendError::Full
    }

    /// Drops the oldest messages to make room for a new message. Drops nothing and returns an error if this
    /// would not make enough room.
    pub(super) fn make_room(&self, queue: &mut Queue, len: usize) -> Result<(), SendError> {
        let max = self.outbound.config.max_buffered;
        let kept = queue.buffered - queue.droppable;
        // If all queued messages can be dropped, the new message is accepted even if it exceeds the limit.
        if kept > 0 && kept + len > max {
            return Err(self.reject_newest(Limit::MaxBuffered));
        }
        let needed = (queue.buffered + len - max).min(queue.droppable);
        let (dropped, freed) = drop_oldest(&mut queue.frames, needed);
        queue.buffered -= freed;
        queue.droppable -= freed;
        self.outbound.limits.hit(Limit::MaxBuffered);
        self.outbound.limits.count_dropped(dropped);
        Ok(())
    }

    /// Charges a message that is about to be queued, and starts the grace period of a queue that grows beyond
    /// `max_buffered`.
    pub(super) fn charge_backlog(&self, queue: &mut Queue, frames: &[Frame], len: usize) {
        let Outbound { config, budget, .. } = &*self.outbound;
        if queue.buffered + len <= self.unchecked_bytes {
            return;
        }
        for frame in frames {
            frame.charge(budget);
        }
        let queue_charge = (queue.frames.len() + frames.len()).next_power_of_two() * size_of::<Frame>();
        let backlog = queue.backlog.get_or_insert_with(|| Box::new(Backlog::new(budget.charge(0))));
        backlog.queue_charge.set(queue_charge);
        self.is_heavy.store(true, Ordering::Relaxed);
        if queue.buffered + len > config.max_buffered && backlog.above.is_none() {
            backlog.above = Some((now(), 0));
            self.backlogged.store(true, Ordering::Relaxed);
            // The task must set its timer to the end of the grace period.
            queue.notified = true;
            queue.wake();
        }
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Returns the number of bytes that the frames would add to the budget.
pub(super) fn uncharged_cost(frames: &[Frame]) -> usize {
    frames.iter().map(Frame::uncharged_cost).sum()
}
