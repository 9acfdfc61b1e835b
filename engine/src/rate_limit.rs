//! How often the log hears of what strangers can cause.

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// Enough to see what happens, too little to fill a disk.
const PER_SECOND: u32 = 10;

/// Ten warnings per second.
#[derive(Debug, Default)]
pub(crate) struct RateLimit(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    count: u32,
}

impl RateLimit {
    /// Whether one more may be logged.
    pub(crate) fn allows(&self) -> bool {
        let now = Instant::now();
        let window = &mut *self.0.lock();
        if window.start.is_none_or(|start| now - start >= Duration::from_secs(1)) {
            *window = Window { start: Some(now), count: 0 };
        }
        window.count += 1;
        window.count <= PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_per_second_are_allowed() {
        let limit = RateLimit::default();
        let allowed = || (0..20).filter(|_| limit.allows()).count();
        assert_eq!(allowed(), 10);
        assert_eq!(allowed(), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(allowed(), 10);
    }
}
