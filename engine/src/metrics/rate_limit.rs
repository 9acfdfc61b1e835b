//! How often the log hears of what strangers can cause.

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// Enough to see what happens, too little to fill a disk.
const PER_SECOND: u32 = 10;

/// Ten lines per second.
#[derive(Debug, Default)]
pub struct RateLimit(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    count: u32,
    left_out: u64,
}

impl RateLimit {
    /// A limit of its own.
    pub const fn new() -> Self {
        Self(Mutex::new(Window { start: None, count: 0, left_out: 0 }))
    }

    /// Whether one more may be logged. Then it says how many were left out since the last one, if any were.
    pub fn allows(&self) -> Option<Option<u64>> {
        let now = Instant::now();
        let window = &mut *self.0.lock();
        // A start that is still to come is of another clock, as tests have.
        if window.start.is_none_or(|start| start > now || now - start >= Duration::from_secs(1)) {
            window.start = Some(now);
            window.count = 0;
        }
        window.count = window.count.saturating_add(1);
        if window.count > PER_SECOND {
            window.left_out += 1;
            return None;
        }
        Some(Some(std::mem::take(&mut window.left_out)).filter(|&left_out| left_out > 0))
    }
}

/// Logs a line that clients can cause: at most ten in a second from one place of the code, with the number of those that
/// were left out before it. Not public API: `socketio` logs with it, too.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    (warn, $($line:tt)+) => { $crate::__log!(@ WARN, $($line)+) };
    (error, $($line:tt)+) => { $crate::__log!(@ ERROR, $($line)+) };
    (@ $level:ident, $($line:tt)+) => {
        if tracing::enabled!(tracing::Level::$level) {
            static LIMIT: $crate::__RateLimit = $crate::__RateLimit::new();
            if let Some(left_out) = LIMIT.allows() {
                tracing::event!(tracing::Level::$level, left_out, $($line)+);
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_per_second_are_allowed_and_the_others_counted() {
        let limit = RateLimit::new();
        let allowed = || (0..20).filter_map(|_| limit.allows()).collect::<Vec<_>>();
        assert_eq!(allowed(), [None; 10]);
        assert_eq!(allowed(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        let first = std::iter::once(Some(30)).chain([None; 9]);
        assert_eq!(allowed(), first.collect::<Vec<_>>());
    }
}
