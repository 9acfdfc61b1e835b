//! Senders that wait for room in the queue of a session, in FIFO order.

use std::{collections::VecDeque, task::Waker};

/// The waiters of one session. An empty list occupies one pointer.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Option<Box<WaitList>>);

#[derive(Debug, Default)]
struct WaitList {
    next: u64,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    /// The cost of the messages to be sent.
    len: usize,
    waker: Waker,
}

impl Waiters {
    /// Returns `true` if no other waiter is ahead of the holder of `ticket`.
    pub(crate) fn is_first(&self, ticket: Option<u64>) -> bool {
        self.first().is_none_or(|first| Some(first.ticket) == ticket)
    }

    /// Appends a waiter, or updates the waker of the waiter with this ticket.
    pub(crate) fn wait(&mut self, ticket: &mut Option<u64>, len: usize, waker: &Waker) {
        let list = self.0.get_or_insert_default();
        if let Some(waiter) = list.waiting.iter_mut().find(|waiter| Some(waiter.ticket) == *ticket) {
            waiter.waker.clone_from(waker);
            return;
        }
        *ticket = Some(list.next);
        list.waiting.push_back(Waiter { ticket: list.next, len, waker: waker.clone() });
        list.next += 1;
    }

    /// Removes a waiter.
    pub(crate) fn leave(&mut self, ticket: u64) {
        if let Some(list) = &mut self.0 {
            list.waiting.retain(|waiter| waiter.ticket != ticket);
            if list.waiting.is_empty() {
                self.0 = None;
            }
        }
    }

    /// Wakes the first waiter if there is room for its messages.
    pub(crate) fn wake_first(&self, has_room: impl FnOnce(usize) -> bool) {
        if let Some(first) = self.first()
            && has_room(first.len)
        {
            first.waker.wake_by_ref();
        }
    }

    /// Wakes and removes all waiters, because the session is closed.
    pub(crate) fn wake_all(&mut self) {
        for waiter in self.0.take().into_iter().flat_map(|list| list.waiting) {
            waiter.waker.wake();
        }
    }

    fn first(&self) -> Option<&Waiter> {
        self.0.as_ref()?.waiting.front()
    }
}
