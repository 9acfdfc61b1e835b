//! The state shared by all sessions of an engine.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{admission::Admission, outbound::Outbound, registry::Registry};
use crate::{
    CloseReason, Limit, SessionHandle,
    config::engine::EngineConfig,
    metrics::{limits::LimitCounters, rate_limit::RateLimit},
    proto::session::Timing,
};

pub(crate) struct Shared<A> {
    pub(crate) config: Arc<EngineConfig>,
    /// The durations from `config` that the state machines use.
    pub(crate) timing: Arc<Timing>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) warnings: RateLimit,
    pub(crate) limits: Arc<LimitCounters>,
    pub(crate) admission: Admission,
    pub(crate) application: A,
    /// The number of connections over which other servers have forwarded requests so far.
    #[cfg(feature = "forwarding")]
    pub(crate) links: std::sync::atomic::AtomicU32,
    /// Set once the engine rejects new sessions.
    closing: AtomicBool,
}

impl<A> Shared<A> {
    pub(crate) fn new(application: A, config: EngineConfig) -> Self {
        let (config, limits, registry) = (Arc::new(config), Arc::default(), Arc::new(Registry::new()));
        Self {
            timing: Arc::new(config.timing()),
            outbound: Outbound::new(Arc::clone(&config), Arc::clone(&limits), Arc::clone(&registry)),
            config,
            registry,
            warnings: RateLimit::default(),
            limits,
            admission: Admission::default(),
            application,
            #[cfg(feature = "forwarding")]
            links: std::sync::atomic::AtomicU32::new(0),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Rejects new sessions from now on.
    pub(crate) fn set_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Evicts a session to make room for another. The capacity is available immediately, and requests no
    /// longer find the evicted session.
    pub(crate) fn evict(&self, session: &SessionHandle, limit: Limit) {
        self.limits.hit(limit);
        self.registry.remove(session.id());
        session.close_for(CloseReason::Evicted);
    }
}
