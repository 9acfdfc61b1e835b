//! A set of slots.

use super::Slot;

/// A bit set of slots.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<u64>);

impl Slots {
    pub(super) fn new(end: Slot) -> Self {
        Self(vec![0; end.div_ceil(64) as usize])
    }

    /// Adds a slot. Returns `true` if the slot was not in the set.
    pub(super) fn insert(&mut self, slot: Slot) -> bool {
        let bit = 1 << (slot % 64);
        let word = &mut self.0[slot as usize / 64];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }
}
