//! Whether another session may begin.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Limit, engine::Shared};

const SECOND: Duration = Duration::from_secs(1);

/// What is known of sessions that begin.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Sessions whose WebSocket is not there yet.
    opening: AtomicUsize,
    rate: Mutex<Rate>,
}

/// A bucket of tokens, as the instant at which it would be full again.
#[derive(Debug, Default)]
struct Rate(Option<Instant>);

impl Rate {
    fn allows(&mut self, now: Instant, per_second: u32) -> bool {
        let Some(interval) = SECOND.checked_div(per_second) else { return false };
        let full = self.0.map_or(now, |full| full.max(now)) + interval;
        let allowed = full - now <= SECOND;
        if allowed {
            self.0 = Some(full);
        }
        allowed
    }
}

/// A session that begins; it counts as one until it is dropped, and by itself once it is registered.
pub(crate) struct Opening<A>(Arc<Shared<A>>);

impl<A> Opening<A> {
    /// Lets a session begin, or says which limit forbids it.
    pub(crate) fn new(shared: &Arc<Shared<A>>) -> Result<Self, Limit> {
        let Shared { config, admission, registry, .. } = &**shared;
        let opening = admission.opening.fetch_add(1, Ordering::Relaxed);
        // From here on, dropping takes it back.
        let this = Self(shared.clone());
        if registry.len() + opening >= config.max_sessions {
            return Err(Limit::MaxSessions);
        }
        if !admission.rate.lock().allows(Instant::now(), config.max_handshakes_per_second) {
            return Err(Limit::MaxHandshakesPerSecond);
        }
        Ok(this)
    }
}

impl<A> Drop for Opening<A> {
    fn drop(&mut self) {
        self.0.admission.opening.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_limited_exactly() {
        let start = Instant::now();
        let mut rate = Rate::default();
        let mut allowed = |after: u64| {
            let now = start + Duration::from_millis(after);
            (0..2000).filter(|_| rate.allows(now, 1000)).count()
        };
        assert_eq!(allowed(0), 1000);
        assert_eq!(allowed(0), 0);
        assert_eq!(allowed(1), 1);
        assert_eq!(allowed(501), 500);
        assert_eq!(allowed(10_000), 1000);
        assert!(!Rate::default().allows(start, 0));
        assert!(Rate::default().allows(start, 1));
    }
}
