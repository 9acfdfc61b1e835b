//! The memory budget for messages to slow clients, shared by all sessions of a server.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

/// A counter of the bytes in memory. A frame that is queued for several sessions is counted once.
///
/// Only sessions with a backlog charge their frames. Messages to clients that keep up are not counted.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    /// The number of bytes that were freed so far.
    freed: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), freed: AtomicUsize::new(0), max })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes that were freed so far, which may wrap around.
    pub(crate) fn freed(&self) -> usize {
        self.freed.load(Ordering::Relaxed)
    }

    /// Returns `true` if `bytes` are a small part of the budget.
    pub(crate) fn is_little(&self, bytes: usize) -> bool {
        bytes < self.max / 64
    }

    /// Returns `true` if the budget has room for `bytes` more bytes.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used() + bytes <= self.max
    }

    /// Returns `true` if at least an eighth of the budget is free.
    #[inline]
    pub(crate) fn has_headroom(&self) -> bool {
        self.used() <= self.max - self.max / 8
    }

    /// Charges `bytes` to the budget until the returned [`Charge`] is dropped.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { budget: self.clone(), bytes }
    }
}

/// A number of bytes charged to a [`Budget`]. Dropping the charge subtracts the bytes from the budget.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// Replaces the number of charged bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        // The addition wraps around, so it can also reduce the counter.
        self.budget.used.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.freed.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The charge for a value with several owners. Only the first call to [`set`](Self::set) charges the budget.
#[derive(Debug, Default)]
pub(crate) struct SharedCharge(OnceLock<Charge>);

impl SharedCharge {
    pub(crate) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    pub(crate) fn set(&self, budget: &Arc<Budget>, bytes: usize) {
        self.0.get_or_init(|| budget.charge(bytes));
    }
}

impl Clone for SharedCharge {
    /// Returns an empty charge, because the memory of the copy is not charged yet.
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_once_and_until_the_last_holder_is_gone() {
        let budget = Budget::new(100);
        let shared = Arc::new(SharedCharge::default());
        let other = shared.clone();
        shared.set(&budget, 60);
        other.set(&budget, 60);
        assert_eq!(budget.used(), 60);
        assert!(budget.has_room(40) && !budget.has_room(41));
        let mut charge = budget.charge(30);
        charge.set(10);
        assert_eq!(budget.used(), 70);
        drop((charge, shared));
        assert_eq!(budget.used(), 60);
        assert!(budget.has_headroom());
        drop(other);
        assert_eq!(budget.used(), 0);
    }
}
