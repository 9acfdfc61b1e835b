//! The gap after the packets of a handshake, which are written separately from what follows.
//!
//! A client that receives two messages with one read may emit both before the code that awaits the first continues.
//! The `ws` package does, with its default options: code that awaits `open`, and then `message`, would miss the open
//! packet. No server can prevent this completely, because the kernel of the client may join what was written
//! separately. A gap makes it unlikely.

use std::time::{Duration, Instant};

/// The gap. Timers of tokio have a resolution of one millisecond.
pub(crate) const GAP: Duration = Duration::from_millis(1);

/// The gap of a write queue. A queue contains at most one gap until it is empty, so a batch is delayed only once.
#[derive(Debug, Default)]
pub(crate) struct Spacing {
    /// The end of the gap.
    until: Option<Instant>,
    /// `true` if the next write begins with a gap.
    is_due: bool,
    /// `true` if the queue had its gap.
    is_spent: bool,
}

impl Spacing {
    /// The spacing of a WebSocket whose handshake response has just been written.
    pub(crate) fn after_response() -> Self {
        Self { is_due: true, ..Self::default() }
    }

    /// Returns `true` if a gap may follow a frame of the queue.
    pub(crate) fn is_available(&self) -> bool {
        !self.is_spent
    }

    /// Begins the gap.
    pub(crate) fn begin(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.is_spent, true) {
            self.until = Some(now + GAP);
        }
    }

    /// Ends the gap early, because the client has sent something and thus reads.
    pub(crate) fn end(&mut self) {
        (self.until, self.is_due) = (None, false);
    }

    /// Records that the queue is empty.
    pub(crate) fn on_empty(&mut self) {
        self.is_spent = false;
    }

    /// Returns `true` during the gap.
    pub(crate) fn holds(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.is_due) {
            self.begin(now);
        }
        self.until.take_if(|until| *until <= now);
        self.until.is_some()
    }

    /// Returns the end of the gap.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_one_gap() {
        let now = tokio::time::Instant::now().into_std();
        let mut spacing = Spacing::default();
        assert!(!spacing.holds(now));
        spacing.begin(now);
        assert!(spacing.holds(now) && spacing.holds(now + GAP / 2));
        assert_eq!(spacing.deadline(), Some(now + GAP));
        assert!(!spacing.holds(now + GAP));
        assert_eq!(spacing.deadline(), None);
        spacing.begin(now);
        assert!(!spacing.is_available() && !spacing.holds(now));
        spacing.on_empty();
        spacing.begin(now);
        assert!(spacing.holds(now));
        spacing.end();
        assert!(!spacing.holds(now));
    }

    #[test]
    fn a_gap_that_is_due_begins_with_the_first_write() {
        let now = tokio::time::Instant::now().into_std();
        let mut spacing = Spacing::after_response();
        assert!(spacing.holds(now) && !spacing.holds(now + GAP));
        let mut spacing = Spacing::after_response();
        spacing.end();
        assert!(!spacing.holds(now));
    }
}
