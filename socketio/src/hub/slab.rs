//! Defines a table of values with dense keys that shrinks when values are removed.

use std::collections::BTreeSet;

use engineio::__Shrink as Shrink;

/// A table that stores values under stable numeric keys.
///
/// The lowest free key is reused first, and free places at the end are removed. The table therefore shrinks
/// under churn, although no value is moved.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// The values by key. The last place is never empty.
    places: Vec<Option<T>>,
    free: BTreeSet<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: BTreeSet::new() }
    }
}

impl<T> Slab<T> {
    /// Returns the upper bound (exclusive) of the keys in use.
    pub(crate) fn end(&self) -> u32 {
        self.places.len() as u32
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.places.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// Adds a value and returns its key.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.places.push(None);
            self.end() - 1
        });
        self.places[number as usize] = Some(value);
        number
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.places.get_mut(number as usize)?.take()?;
        if number + 1 < self.end() {
            self.free.insert(number);
            return Some(value);
        }
        self.places.pop();
        // Each removed place was added by one insertion, so the cost of the loop is amortized over the
        // insertions.
        while let Some(None) = self.places.last() {
            self.places.pop();
            self.free.pop_last();
        }
        self.places.shrink();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..5).map(|value| slab.insert(value)).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert_eq!((slab.remove(3), slab.remove(3), slab.remove(5)), (Some(3), None, None));
        assert_eq!(slab.remove(1), Some(1));
        assert_eq!((slab.insert(7), slab.insert(8), slab.insert(9)), (1, 3, 5));
        *slab.get_mut(3).unwrap() += 1;
        assert_eq!((slab.get(1), slab.get(3), slab.get(6)), (Some(&7), Some(&9), None));
    }

    #[test]
    fn places_come_back_in_whatever_order_values_go() {
        const MANY: u32 = 10_000;
        for step in [1, MANY - 1, 7919] {
            let mut slab = Slab::default();
            for value in 0..MANY {
                slab.insert(value);
            }
            let (mut capacity, mut moves) = (slab.places.capacity(), 0);
            for n in 1..=MANY {
                assert!(slab.remove(n * step % MANY).is_some());
                moves += usize::from(slab.places.capacity() != capacity);
                capacity = slab.places.capacity();
            }
            assert_eq!((slab.end(), slab.free.len()), (0, 0));
            assert!(capacity <= 16 && moves <= 16, "{capacity} places after {moves} moves");
        }
    }

    #[test]
    fn who_comes_later_takes_the_places_of_those_who_left() {
        let mut slab = Slab::default();
        let mut live: Vec<u32> = (0..1000).map(|value| slab.insert(value)).collect();
        // Keep the ten newest values.
        for number in live.drain(..990) {
            slab.remove(number);
        }
        assert_eq!(slab.end(), 1000);
        for number in live {
            slab.insert(0);
            slab.remove(number);
        }
        assert_eq!(slab.end(), 10);
        assert!(slab.places.capacity() <= 40);
    }
}
