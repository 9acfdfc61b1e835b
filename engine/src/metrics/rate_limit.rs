//! A rate limit for log lines that clients can cause.

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// The maximum number of log lines per second. It is high enough for diagnosis and low enough not to fill a
/// disk.
const PER_SECOND: u32 = 10;

/// A limit of ten log lines per second.
#[derive(Debug, Default)]
pub struct RateLimit(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    count: u32,
    suppressed: u64,
}

/// A permit to log one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPermit {
    /// The number of lines suppressed since the last logged line, if any.
    pub suppressed: Option<u64>,
}

impl RateLimit {
    /// Creates a new, independent limit.
    pub const fn new() -> Self {
        Self(Mutex::new(Window { start: None, count: 0, suppressed: 0 }))
    }

    /// Returns `Some` if another line may be logged.
    pub fn try_acquire(&self) -> Option<LogPermit> {
        let now = Instant::now();
        let window = &mut *self.0.lock();
        // A start in the future was read from a different clock, which happens in tests.
        if window.start.is_none_or(|start| start > now || now - start >= Duration::from_secs(1)) {
            window.start = Some(now);
            window.count = 0;
        }
        window.count = window.count.saturating_add(1);
        if window.count > PER_SECOND {
            window.suppressed += 1;
            return None;
        }
        let suppressed = Some(std::mem::take(&mut window.suppressed)).filter(|&suppressed| suppressed > 0);
        Some(LogPermit { suppressed })
    }
}

/// Logs a line that clients can cause. Each call site logs at most ten lines per second, together with the
/// number of lines suppressed before. This macro is not public API and is also used by `socketio`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    (warn, $($line:tt)+) => { $crate::__log!(@ WARN, $($line)+) };
    (error, $($line:tt)+) => { $crate::__log!(@ ERROR, $($line)+) };
    (@ $level:ident, $($line:tt)+) => {
        if tracing::enabled!(tracing::Level::$level) {
            static LIMIT: $crate::__RateLimit = $crate::__RateLimit::new();
            if let Some(permit) = LIMIT.try_acquire() {
                tracing::event!(tracing::Level::$level, suppressed = permit.suppressed, $($line)+);
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
        let allowed = || {
            (0..20).filter_map(|_| limit.try_acquire().map(|permit| permit.suppressed)).collect::<Vec<_>>()
        };
        assert_eq!(allowed(), [None; 10]);
        assert_eq!(allowed(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        let first = std::iter::once(Some(30)).chain([None; 9]);
        assert_eq!(allowed(), first.collect::<Vec<_>>());
    }
}
