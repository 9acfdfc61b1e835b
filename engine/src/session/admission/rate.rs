//! A rate limit, implemented as a token bucket.

use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A token bucket, stored as the instant at which it is full again.
#[derive(Debug, Default)]
pub(super) struct TokenBucket(Option<Instant>);

impl TokenBucket {
    pub(super) fn allows(&mut self, now: Instant, per_second: u32) -> bool {
        let Some(interval) = SECOND.checked_div(per_second) else { return false };
        let full = self.0.map_or(now, |full| full.max(now)) + interval;
        let allowed = full - now <= SECOND;
        if allowed {
            self.0 = Some(full);
        }
        allowed
    }

    /// Returns `true` if the bucket is full.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.0.is_none_or(|full| full <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_limited_exactly() {
        let start = Instant::now();
        let mut rate = TokenBucket::default();
        let mut allowed = |after: u64| {
            let now = start + Duration::from_millis(after);
            (0..2000).filter(|_| rate.allows(now, 1000)).count()
        };
        assert_eq!(allowed(0), 1000);
        assert_eq!(allowed(0), 0);
        assert_eq!(allowed(1), 1);
        assert_eq!(allowed(501), 500);
        assert_eq!(allowed(10_000), 1000);
        assert!(!rate.is_full(start + Duration::from_millis(10_999)));
        assert!(rate.is_full(start + Duration::from_secs(11)));
        assert!(!TokenBucket::default().allows(start, 0));
        assert!(TokenBucket::default().allows(start, 1));
    }
}
