//! Operations at a fixed rate, independent of the responses of the server.

use crate::meter::nanoseconds;

/// Computes the start times of operations.
pub(crate) struct Pacer {
    /// Seconds between two operations.
    interval: f64,
    start: u64,
    count: usize,
}

impl Pacer {
    pub(crate) fn new(per_second: f64) -> Self {
        Self { interval: 1.0 / per_second, start: 0, count: 0 }
    }

    /// Starts the clock. The first operation is due immediately.
    pub(crate) fn start(&mut self, now: u64) {
        self.start = now;
    }

    /// Returns the number and the due time of the next operation if it is due.
    pub(crate) fn due(&mut self, now: u64) -> Option<(usize, u64)> {
        let time = self.start + nanoseconds(self.interval * self.count as f64);
        (time <= now).then(|| {
            self.count += 1;
            (self.count - 1, time)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Pacer;

    #[test]
    fn what_is_late_is_due_at_the_time_it_should_have_been() {
        let mut pace = Pacer::new(1000.0);
        pace.start(5);
        assert_eq!(pace.due(4), None);
        assert_eq!(pace.due(2_000_004), Some((0, 5)));
        assert_eq!(pace.due(2_000_004), Some((1, 1_000_005)));
        assert_eq!(pace.due(2_000_004), None);
    }
}
