//! Collections that release memory after a peak.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash},
};

/// A collection with at most this capacity does not shrink.
const MIN_CAPACITY: usize = 16;

/// A collection that grows on insertion and shrinks on request.
pub trait Shrink {
    /// Releases unused capacity. Call this after each removal. Does nothing unless less than a quarter of the
    /// capacity is used; otherwise reduces the capacity to twice the number of entries. The next reallocation
    /// requires at least half as many removals or insertions as there are entries, so the cost per removal is
    /// amortized, as for growth.
    fn shrink(&mut self);
}

/// Returns the capacity to shrink to, or `None` to keep the current one.
fn target_capacity(len: usize, capacity: usize) -> Option<usize> {
    (capacity > MIN_CAPACITY && len < capacity / 4).then_some((2 * len).max(MIN_CAPACITY / 2))
}

impl<K: Eq + Hash, V, S: BuildHasher> Shrink for HashMap<K, V, S> {
    fn shrink(&mut self) {
        if let Some(capacity) = target_capacity(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> Shrink for Vec<T> {
    fn shrink(&mut self) {
        if let Some(capacity) = target_capacity(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> Shrink for VecDeque<T> {
    fn shrink(&mut self) {
        if let Some(capacity) = target_capacity(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 10_000;

    /// Calls `remove`, which returns the new length and capacity, until the collection is empty. Checks that
    /// the capacity stays proportional to the length, and returns the number of times the collection shrank.
    fn shrinks(mut remove: impl FnMut(usize) -> (usize, usize)) -> usize {
        let (mut shrinks, mut before) = (0, MANY);
        for n in 0..MANY {
            let (len, capacity) = remove(n);
            assert!(
                capacity <= MIN_CAPACITY || capacity < 4 * (len + 1),
                "{capacity} places for {len} entries"
            );
            // The reported capacity of a map may decrease by one when a removal leaves a tombstone.
            shrinks += usize::from(capacity < before - before / 4);
            before = capacity;
        }
        shrinks
    }

    #[test]
    fn places_come_back_in_few_steps() {
        let mut map: HashMap<usize, usize> = (0..MANY).zip(0..).collect();
        let mut vec = vec![0; MANY];
        let mut deque: VecDeque<usize> = (0..MANY).collect();
        let of_map = shrinks(|n| {
            map.remove(&n);
            map.shrink();
            (map.len(), map.capacity())
        });
        let of_vec = shrinks(|_| {
            vec.pop();
            vec.shrink();
            (vec.len(), vec.capacity())
        });
        let of_deque = shrinks(|_| {
            deque.pop_front();
            deque.shrink();
            (deque.len(), deque.capacity())
        });
        for shrinks in [of_map, of_vec, of_deque] {
            assert!((5..=2 * MANY.ilog2() as usize).contains(&shrinks), "{shrinks} of {MANY}");
        }
    }

    #[test]
    fn who_comes_and_goes_moves_nothing() {
        for rest in [0, 1, MIN_CAPACITY / 4, MIN_CAPACITY, MANY / 4 - 1, MANY / 4, MANY / 4 + 1] {
            let mut vec = vec![0; MANY];
            vec.truncate(rest + 1);
            vec.pop();
            vec.shrink();
            let capacity = vec.capacity();
            for _ in 0..100 {
                vec.push(0);
                vec.pop();
                vec.shrink();
                assert_eq!(vec.capacity(), capacity, "with {rest} others");
            }
        }
    }
}
