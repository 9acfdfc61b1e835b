//! The state shared by the send queues of all sessions of a server.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    SessionHandle, config::engine::EngineConfig, metrics::limits::LimitCounters, proto::budget::Budget,
    session::registry::Registry,
};

/// The minimum time between two searches for sessions to evict.
const SEARCH_INTERVAL: Duration = Duration::from_millis(20);

/// The time for which a budget without headroom must stand still until sessions are evicted in favour of clients
/// whose requests wait.
const STANDSTILL: Duration = Duration::from_secs(1);

/// The interval at which one request is handled although the budget has no headroom, while clients read nothing.
const ADMISSION_INTERVAL: Duration = Duration::from_millis(250);

/// The options, counters and budget of the send queues of a server.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) limits: Arc<LimitCounters>,
    pub(crate) budget: Arc<Budget>,
    registry: Arc<Registry>,
    search: Mutex<LastSearch>,
}

/// The last search for the sessions with the largest load.
#[derive(Debug, Default)]
struct LastSearch {
    at: Option<Instant>,
    /// `true` if it made enough room.
    was_enough: bool,
    /// The time at which [`STANDSTILL`] was last checked.
    checked: Option<Instant>,
    /// The number of bytes freed until then.
    freed: usize,
    /// The time at which [`ADMISSION_INTERVAL`] was last checked, and the number of bytes freed until then.
    admitted: Option<(Instant, usize)>,
}

impl Outbound {
    pub(crate) fn new(
        config: Arc<EngineConfig>,
        limits: Arc<LimitCounters>,
        registry: Arc<Registry>,
    ) -> Arc<Self> {
        let budget = Budget::new(config.max_buffered_total);
        Arc::new(Self { config, limits, budget, registry, search: Mutex::default() })
    }

    /// Creates a value for tests, with a limit of `max_buffered` bytes for each client.
    #[cfg(test)]
    pub(crate) fn for_test(max_buffered: usize) -> Arc<Self> {
        let config = EngineConfig::default().max_buffered(max_buffered);
        Self::new(Arc::new(config), Arc::default(), Arc::new(Registry::new()))
    }

    /// Called while less than an eighth of the budget is free. Returns `true` unless nothing was freed since the last
    /// [`ADMISSION_INTERVAL`]: then one request may be handled. If clients read little for longer, evicts the
    /// heaviest sessions.
    #[cold]
    pub(crate) fn stays_congested(&self) -> bool {
        let Some(mut last) = self.search.try_lock() else { return true };
        let (now, freed) = (Instant::now(), self.budget.freed());
        let is_due = |at: Option<Instant>, interval| at.is_none_or(|at| now - at >= interval);
        let mut is_admitted = false;
        if is_due(last.admitted.map(|(at, _)| at), ADMISSION_INTERVAL) {
            is_admitted = last.admitted.is_some_and(|(_, before)| before == freed);
            last.admitted = Some((now, freed));
        }
        if is_due(last.checked, STANDSTILL) {
            let stands_still = self.budget.is_little(freed.wrapping_sub(last.freed));
            let is_first = is_due(last.checked, 2 * STANDSTILL);
            (last.checked, last.freed) = (Some(now), freed);
            drop(last);
            if stands_still && !is_first {
                self.evict_heaviest(0, 0, false);
            }
        }
        !is_admitted
    }

    /// Evicts sessions whose weight exceeds `weight`, heaviest first, until an eighth of the budget and
    /// `needed` bytes are free.
    /// The weight grows with the number of queued bytes and with the time since the start of the grace
    /// period.
    ///
    /// Does nothing within [`SEARCH_INTERVAL`] after the last search, because it looks at all sessions, unless
    /// `is_urgent` is set and the last search was successful. Skips sessions whose queue is locked, because the
    /// caller holds the lock of one queue.
    #[cold]
    pub(crate) fn evict_heaviest(&self, weight: u128, needed: usize, is_urgent: bool) {
        // Callers do not wait for a search in progress.
        let Some(mut last) = self.search.try_lock() else { return };
        let now = Instant::now();
        let is_early = last.at.is_some_and(|at| now - at < SEARCH_INTERVAL);
        if is_early && !(is_urgent && last.was_enough) {
            return;
        }
        last.at = Some(now);
        let now = now.into_std();
        let heavier =
            |session: SessionHandle| Some((session.weight(now).filter(|&its| its > weight)?, session));
        let mut sessions: Vec<_> = self.registry.open_sessions().into_iter().filter_map(heavier).collect();
        sessions.sort_unstable_by_key(|&(weight, _)| Reverse(weight));
        let is_enough = || self.budget.has_headroom() && self.budget.has_room(needed);
        for (_, session) in sessions {
            if is_enough() {
                break;
            }
            session.evict();
        }
        last.was_enough = is_enough();
    }
}
