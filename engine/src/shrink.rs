//! Tables that give back what they took when there were many.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash},
};

/// A table of so many places stays as it is.
const KEPT: usize = 16;

/// A table that grows by itself, and shrinks when it is asked to.
pub trait Shrink {
    /// To be called after each removal. It does nothing until three quarters of the places are free; then the table
    /// keeps twice as many places as it has entries. So half of the entries must go, or as many come, before places are
    /// moved again: for each removal that costs no more than growing did for each insertion.
    fn shrink(&mut self);
}

/// To how many places a table shrinks, if it does.
fn shrunk(len: usize, capacity: usize) -> Option<usize> {
    (capacity > KEPT && len < capacity / 4).then_some((2 * len).max(KEPT / 2))
}

impl<K: Eq + Hash, V, S: BuildHasher> Shrink for HashMap<K, V, S> {
    fn shrink(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> Shrink for Vec<T> {
    fn shrink(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> Shrink for VecDeque<T> {
    fn shrink(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 10_000;

    /// Empties a table by a function that says how many entries and places there are then; how often it has shrunk,
    /// after checking that it never has many more places than it needs.
    fn shrinks(mut remove: impl FnMut(usize) -> (usize, usize)) -> usize {
        let (mut shrinks, mut before) = (0, MANY);
        for n in 0..MANY {
            let (len, capacity) = remove(n);
            assert!(capacity <= KEPT || capacity < 4 * (len + 1), "{capacity} places for {len} entries");
            // A map says one place less now and then, where an entry has left a mark.
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
        for rest in [0, 1, KEPT / 4, KEPT, MANY / 4 - 1, MANY / 4, MANY / 4 + 1] {
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
