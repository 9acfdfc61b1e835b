//! How many connections there are.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config::listen::ListenConfig, metrics::rate_limit::RateLimit};

/// How many refused clients may be told so at once.
const REFUSALS: usize = 64;

/// The connections of a server, over one listener or several: their options, and how many there are. A cheap handle.
///
/// # Examples
///
/// ```
/// use engineio::{Connections, ListenConfig};
///
/// let connections = Connections::new(ListenConfig::default().max_connections(100_usize));
/// assert_eq!((connections.open(), connections.refused()), (0, 0));
/// ```
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    config: ListenConfig,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    refused: AtomicU64,
    warnings: RateLimit,
}

impl Connections {
    /// Starts without a connection.
    ///
    /// # Panics
    ///
    /// Panics if a limit or timeout is zero.
    #[track_caller]
    pub fn new(config: ListenConfig) -> Self {
        config.check();
        Self(Arc::new(Inner {
            places: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            refused: AtomicU64::new(0),
            warnings: RateLimit::default(),
            config,
        }))
    }

    /// The connections that are open, those that have become a WebSocket included.
    pub fn open(&self) -> usize {
        self.0.config.max_connections.saturating_sub(self.0.places.available_permits())
    }

    /// The connections that were refused so far, because there were
    /// [`max_connections`](field@ListenConfig::max_connections) already.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// The options.
    pub fn config(&self) -> &ListenConfig {
        &self.0.config
    }

    /// A place for one more connection, until it is dropped.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.0.places.clone().try_acquire_owned().ok()
    }

    /// Counts a connection that found no place; a permit to tell it so, if not too many are being told.
    pub(super) fn refuse(&self) -> Option<OwnedSemaphorePermit> {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        self.0.refusals.clone().try_acquire_owned().ok()
    }

    /// Whether one more warning may be logged, and how many were left out before it.
    pub(super) fn may_warn(&self) -> Option<Option<u64>> {
        self.0.warnings.allows()
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new(ListenConfig::default())
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("open", &self.open())
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}
