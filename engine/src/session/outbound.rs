//! What the send queues of all sessions of a server share.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    SessionHandle, config::engine::EngineConfig, metrics::limits::LimitCounters, proto::budget::Budget,
    session::registry::Registry,
};

/// How long after a search for room in the budget there is no other.
const SEARCH_INTERVAL: Duration = Duration::from_millis(20);

/// The options, counters and budget of the send queues of a server.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) limits: Arc<LimitCounters>,
    pub(crate) budget: Arc<Budget>,
    registry: Arc<Registry>,
    /// When the sessions were last searched for those that hold most.
    searched: Mutex<Option<Instant>>,
}

impl Outbound {
    pub(crate) fn new(
        config: Arc<EngineConfig>,
        limits: Arc<LimitCounters>,
        registry: Arc<Registry>,
    ) -> Arc<Self> {
        let budget = Budget::new(config.max_buffered_total);
        Arc::new(Self { config, limits, budget, registry, searched: Mutex::default() })
    }

    /// For tests: with room for so many bytes for one client.
    #[cfg(test)]
    pub(crate) fn for_test(max_buffered: usize) -> Arc<Self> {
        let config = EngineConfig::default().max_buffered(max_buffered);
        Self::new(Arc::new(config), Arc::default(), Arc::new(Registry::new()))
    }

    /// Ends sessions that burden the budget more than this weight, until an eighth of it is free: first those that hold
    /// most and have taken nothing for the longest time.
    ///
    /// A session whose queue is locked is passed over, because the caller holds the lock of one.
    #[cold]
    pub(crate) fn relieve(&self, weight: u128) {
        // Others need not wait for a search that goes on.
        let Some(mut searched) = self.searched.try_lock() else { return };
        let now = Instant::now();
        if searched.is_some_and(|last| now - last < SEARCH_INTERVAL) {
            return;
        }
        *searched = Some(now);
        let now = now.into_std();
        let heavier =
            |session: SessionHandle| Some((session.weight(now).filter(|&its| its > weight)?, session));
        let mut sessions: Vec<_> = self.registry.all().into_iter().filter_map(heavier).collect();
        sessions.sort_unstable_by_key(|&(weight, _)| Reverse(weight));
        for (_, session) in sessions {
            if self.budget.is_relieved() {
                break;
            }
            session.evict();
        }
    }
}
