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

/// The options, counters and budget of the send queues of a server.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) limits: Arc<LimitCounters>,
    pub(crate) budget: Arc<Budget>,
    registry: Arc<Registry>,
    /// The time of the last search for the sessions with the largest load.
    last_search: Mutex<Option<Instant>>,
}

impl Outbound {
    pub(crate) fn new(
        config: Arc<EngineConfig>,
        limits: Arc<LimitCounters>,
        registry: Arc<Registry>,
    ) -> Arc<Self> {
        let budget = Budget::new(config.max_buffered_total);
        Arc::new(Self { config, limits, budget, registry, last_search: Mutex::default() })
    }

    /// Creates a value for tests, with a limit of `max_buffered` bytes for each client.
    #[cfg(test)]
    pub(crate) fn for_test(max_buffered: usize) -> Arc<Self> {
        let config = EngineConfig::default().max_buffered(max_buffered);
        Self::new(Arc::new(config), Arc::default(), Arc::new(Registry::new()))
    }

    /// Evicts sessions whose weight exceeds `weight`, heaviest first, until an eighth of the budget is free.
    /// The weight grows with the number of queued bytes and with the time since the start of the grace
    /// period.
    ///
    /// Skips sessions whose queue is locked, because the caller holds the lock of one queue.
    #[cold]
    pub(crate) fn evict_heaviest(&self, weight: u128) {
        // Callers do not wait for a search in progress.
        let Some(mut last_search) = self.last_search.try_lock() else { return };
        let now = Instant::now();
        if last_search.is_some_and(|last| now - last < SEARCH_INTERVAL) {
            return;
        }
        *last_search = Some(now);
        let now = now.into_std();
        let heavier =
            |session: SessionHandle| Some((session.weight(now).filter(|&its| its > weight)?, session));
        let mut sessions: Vec<_> = self.registry.open_sessions().into_iter().filter_map(heavier).collect();
        sessions.sort_unstable_by_key(|&(weight, _)| Reverse(weight));
        for (_, session) in sessions {
            if self.budget.has_headroom() {
                break;
            }
            session.evict();
        }
    }
}
