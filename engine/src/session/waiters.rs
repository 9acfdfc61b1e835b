//! Who waits for room in the queue of a session, first come first served.

use std::{collections::VecDeque, task::Waker};

/// The waiters of one session, or none: then it takes a pointer.
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
    /// What its messages cost.
    len: usize,
    waker: Waker,
}

impl Waiters {
    /// Whether it is the turn of the one with this ticket, or of one who has none.
    pub(crate) fn is_first(&self, ticket: Option<u64>) -> bool {
        self.first().is_none_or(|first| Some(first.ticket) == ticket)
    }

    /// Takes a place at the end of the line, or goes on waiting in the place of the ticket.
    pub(crate) fn wait(&mut self, ticket: &mut Option<u64>, len: usize, waker: &Waker) {
        let line = self.0.get_or_insert_default();
        if let Some(waiter) = line.waiting.iter_mut().find(|waiter| Some(waiter.ticket) == *ticket) {
            waiter.waker.clone_from(waker);
            return;
        }
        *ticket = Some(line.next);
        line.waiting.push_back(Waiter { ticket: line.next, len, waker: waker.clone() });
        line.next += 1;
    }

    /// Gives up a place.
    pub(crate) fn leave(&mut self, ticket: u64) {
        if let Some(line) = &mut self.0 {
            line.waiting.retain(|waiter| waiter.ticket != ticket);
            if line.waiting.is_empty() {
                self.0 = None;
            }
        }
    }

    /// Wakes the first if there is room for it.
    pub(crate) fn wake_first(&self, has_room: impl FnOnce(usize) -> bool) {
        if let Some(first) = self.first()
            && has_room(first.len)
        {
            first.waker.wake_by_ref();
        }
    }

    /// Wakes all: nothing will be sent any more.
    pub(crate) fn wake_all(&mut self) {
        for waiter in self.0.take().into_iter().flat_map(|line| line.waiting) {
            waiter.waker.wake();
        }
    }

    fn first(&self) -> Option<&Waiter> {
        self.0.as_ref()?.waiting.front()
    }
}
