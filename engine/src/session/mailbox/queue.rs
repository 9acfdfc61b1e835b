//! The queue of one session, and its limits.

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

/// The places that the queue of an idle session may keep: what its first message takes.
pub(super) const KEPT_FRAMES: usize = 4;

/// How many bytes leave the queue at once: what has left can neither be dropped nor evicted any more.
pub(super) const BATCH: usize = 64 * 1024;

/// The bytes that one session may hold without being charged for them.
pub(super) const UNCHARGED: usize = 16 * 1024;

pub(super) struct Mailbox {
    pub(super) sid: Sid,
    pub(super) websocket: AtomicBool,
    /// The transport that it began with.
    pub(super) first: TransportKind,
    /// Whether more than `max_buffered` bytes wait. Changed under the lock of the queue.
    pub(super) backlogged: AtomicBool,
    pub(super) dialect: Dialect,
    /// From how many bytes on the queue is charged and its limits are checked.
    pub(super) unchecked: usize,
    pub(super) outbound: Arc<Outbound>,
    pub(super) queue: Mutex<Queue>,
}

pub(super) struct Queue {
    pub(super) frames: VecDeque<Frame>,
    /// The bytes of `frames`, and of those that the task has taken and not yet written.
    pub(super) buffered: usize,
    /// Those of `frames` that may be dropped.
    pub(super) droppable: usize,
    pub(super) commands: Vec<Command>,
    pub(super) waker: Option<Waker>,
    /// Who waits until there is room for a message.
    pub(super) waiters: Waiters,
    /// Whether the task sleeps: then, and only then, the next arrival wakes it that it can act on.
    pub(super) asleep: bool,
    /// Whether the task was to be woken while it was awake.
    pub(super) woken: bool,
    /// When bytes of a request came that is not complete yet.
    pub(super) heard: Option<Instant>,
    /// Whether what is sent now would leave at once.
    pub(super) writable: bool,
    pub(super) state: State,
    /// What is known of a queue that has grown beyond the unchecked bytes.
    pub(super) backlog: Option<Box<Backlog>>,
}

/// A send queue that has grown.
pub(super) struct Backlog {
    /// The places of the queue. Frames are charged by themselves.
    pub(super) places: Charge,
    /// Since when more than `max_buffered` bytes wait, and how many have left since then.
    pub(super) above: Option<(Instant, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Messages are refused.
    Closed,
    /// The task has ended: commands are refused too.
    Gone,
}

impl Queue {
    /// Takes messages that cost so much.
    pub(super) fn push(&mut self, frames: &[Frame], len: usize) {
        self.buffered += len;
        self.frames.extend(frames.iter().cloned());
        self.offer();
    }

    pub(super) fn push_droppable(&mut self, frames: &[Frame], len: usize) {
        self.buffered += len;
        self.droppable += len;
        let copies = frames.iter().cloned().enumerate();
        self.frames.extend(copies.map(|(at, frame)| frame.droppable(at == 0)));
        self.offer();
    }

    /// Wakes the task if messages can leave. It takes them by itself when the client is ready for more, so that one
    /// which does not read costs nothing but its place in the queue.
    pub(super) fn offer(&mut self) {
        if self.writable {
            self.wake();
        }
    }

    /// Takes the first frames, about so many bytes; frames that belong together stay so.
    #[cold]
    pub(super) fn take_some(&mut self, bytes: usize) -> VecDeque<Frame> {
        let (mut batch, mut len) = (VecDeque::new(), 0);
        while let Some(frame) = self.frames.pop_front_if(|next| len < bytes || next.belongs_to_previous()) {
            len += frame.cost();
            self.droppable -= if frame.is_droppable() { frame.cost() } else { 0 };
            batch.push_back(frame);
        }
        batch
    }

    /// Takes all frames, or the first ones if there are more than so many bytes.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> VecDeque<Frame> {
        if self.buffered > bytes {
            return self.take_some(bytes);
        }
        self.droppable = 0;
        std::mem::take(&mut self.frames)
    }

    /// How much the session burdens the budget: the bytes that wait, times the milliseconds since the client has taken a
    /// good part of them.
    pub(super) fn weight(&self, now: Instant) -> u128 {
        let above = self.backlog.as_ref().and_then(|backlog| backlog.above);
        let stalled = above.map_or(0, |(since, _)| now.saturating_duration_since(since).as_millis());
        self.buffered as u128 * (1 + stalled)
    }

    /// Refuses messages from now on.
    pub(super) fn close(&mut self, state: State) {
        self.state = state;
        self.waiters.wake_all();
    }

    pub(super) fn wake(&mut self) {
        if std::mem::take(&mut self.asleep)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// Whether a message may join those that wait. One is always taken when nothing waits.
pub(super) fn has_room(buffered: usize, len: usize, max_buffered: usize) -> bool {
    buffered == 0 || buffered + len <= max_buffered
}

impl Mailbox {
    /// Bytes have left: there may be room for the first of those who wait for it.
    #[inline]
    pub(super) fn written(&self, queue: &mut Queue, len: usize) {
        queue.buffered -= len;
        if queue.backlog.is_some() {
            self.drained(queue, len);
        }
        queue.waiters.wake_first(|len| has_room(queue.buffered, len, self.outbound.config.max_buffered));
    }

    #[cold]
    pub(super) fn drained(&self, queue: &mut Queue, len: usize) {
        let max = self.outbound.config.max_buffered;
        if queue.buffered <= max && self.backlogged.swap(false, Ordering::Relaxed) {
            // Events of the client may be handled again.
            queue.woken = true;
        }
        let Some(backlog) = &mut queue.backlog else { return };
        if queue.buffered <= self.unchecked {
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

    /// Makes sure that a message of that cost may be queued, although much waits already.
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
                None | Some(SlowConsumerPolicy::Disconnect) => self.check_hard(queue, frames, len, policy)?,
                Some(SlowConsumerPolicy::DropNewest) => return Err(self.drop_newest(Limit::MaxBuffered)),
                Some(SlowConsumerPolicy::DropOldest) => self.make_room(queue, len)?,
            }
        }
        self.relieve(queue, frames);
        self.grow(queue, frames, len);
        Ok(())
    }

    /// Makes sure that the budget has room for messages, if sessions that burden it more can be ended for it.
    pub(super) fn relieve(&self, queue: &Queue, frames: &[Frame]) -> bool {
        let Outbound { budget, .. } = &*self.outbound;
        let has_room = || budget.has_room(uncharged(frames));
        if !has_room() {
            self.outbound.relieve(queue.weight(now()));
        }
        has_room()
    }

    /// Checks the limits of a queue that is above `max_buffered`.
    pub(super) fn check_hard(
        &self,
        queue: &mut Queue,
        frames: &[Frame],
        len: usize,
        policy: Option<SlowConsumerPolicy>,
    ) -> Result<(), SendError> {
        let Outbound { config, limits, .. } = &*self.outbound;
        let limit = if !has_room(queue.buffered, len, config.max_buffered_hard) {
            Limit::MaxBufferedHard
        } else if !self.relieve(queue, frames) {
            Limit::MaxBufferedTotal
        } else {
            return Ok(());
        };
        if policy.is_some() {
            queue.commands.push(Command::CloseSlow(limit));
            queue.close(State::Closed);
            queue.wake();
        } else {
            limits.hit(limit);
        }
        Err(SendError::Full)
    }

    pub(super) fn drop_newest(&self, limit: Limit) -> SendError {
        self.outbound.limits.hit(limit);
        self.outbound.limits.drop_messages(1);
        SendError::Full
    }

    /// Drops the oldest messages for a new one, if that makes enough room.
    pub(super) fn make_room(&self, queue: &mut Queue, len: usize) -> Result<(), SendError> {
        let max = self.outbound.config.max_buffered;
        let kept = queue.buffered - queue.droppable;
        // Even alone, a message need not fit.
        if kept > 0 && kept + len > max {
            return Err(self.drop_newest(Limit::MaxBuffered));
        }
        let needed = (queue.buffered + len - max).min(queue.droppable);
        let (dropped, freed) = drop_oldest(&mut queue.frames, needed);
        queue.buffered -= freed;
        queue.droppable -= freed;
        self.outbound.limits.hit(Limit::MaxBuffered);
        self.outbound.limits.drop_messages(dropped);
        Ok(())
    }

    /// Charges a message that is queued next, and takes note of a queue that grows beyond `max_buffered`.
    pub(super) fn grow(&self, queue: &mut Queue, frames: &[Frame], len: usize) {
        let Outbound { config, budget, .. } = &*self.outbound;
        if queue.buffered + len <= self.unchecked {
            return;
        }
        for frame in frames {
            frame.charge(budget);
        }
        let places = (queue.frames.len() + frames.len()).next_power_of_two() * size_of::<Frame>();
        let backlog =
            queue.backlog.get_or_insert_with(|| Box::new(Backlog { places: budget.charge(0), above: None }));
        backlog.places.set(places);
        if queue.buffered + len > config.max_buffered && backlog.above.is_none() {
            backlog.above = Some((now(), 0));
            self.backlogged.store(true, Ordering::Relaxed);
            // The task waits for the end of the grace from now on.
            queue.woken = true;
            queue.wake();
        }
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What messages would add to the budget.
pub(super) fn uncharged(frames: &[Frame]) -> usize {
    frames.iter().map(Frame::uncharged).sum()
}
