//! The events whose handlers send their clients many bytes.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The time after which all events are forgotten.
const MAX_AGE: Duration = Duration::from_mins(1);

const WORDS: usize = 64;

/// The events whose handlers have made a client heavy lately. While the messages to all clients use up too much memory,
/// such an event does not start, even if its client is light, and others do.
///
/// Names that have the same hash share their fate.
pub(crate) struct HeavyEvents {
    hasher: RandomState,
    bits: [AtomicU64; WORDS],
    /// The time since which the events are remembered.
    since: Mutex<Instant>,
}

impl HeavyEvents {
    pub(crate) fn new() -> Self {
        let bits = [const { AtomicU64::new(0) }; WORDS];
        Self { hasher: RandomState::new(), bits, since: Mutex::new(now()) }
    }

    /// Returns the number that stands for the name of an event.
    pub(crate) fn number(&self, name: &str) -> u16 {
        let [low, high, ..] = self.hasher.hash_one(name).to_ne_bytes();
        u16::from_ne_bytes([low, high]) % (WORDS * 64) as u16
    }

    #[cold]
    pub(crate) fn insert(&self, number: u16) {
        self.forget();
        let (word, bit) = self.bit(number);
        word.fetch_or(bit, Ordering::Relaxed);
    }

    #[cold]
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.forget();
        let (word, bit) = self.bit(self.number(name));
        word.load(Ordering::Relaxed) & bit != 0
    }

    fn bit(&self, number: u16) -> (&AtomicU64, u64) {
        let number = usize::from(number);
        (&self.bits[number / 64], 1 << (number % 64))
    }

    /// Forgets all events at times, because the same event may have another size later.
    fn forget(&self) {
        let Some(mut since) = self.since.try_lock() else { return };
        let now = now();
        if now - *since > MAX_AGE {
            *since = now;
            self.bits.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_are_heavy_for_a_minute() {
        let events = HeavyEvents::new();
        assert!(!events.contains("download"));
        events.insert(events.number("download"));
        assert!(events.contains("download"));
        tokio::time::advance(MAX_AGE).await;
        assert!(events.contains("download"));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!events.contains("download"));
    }
}
