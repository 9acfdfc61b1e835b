//! The limit and the counters of connections.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::listen::ListenConfig,
    metrics::rate_limit::{LogPermit, RateLimit},
};

/// The maximum number of clients that are sent a 503 at the same time.
const MAX_REJECTIONS: usize = 64;

/// The options and counters of the connections of a server, which may have several listeners. This type is a
/// handle that is cheap to clone.
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
    permits: Arc<Semaphore>,
    rejections: Arc<Semaphore>,
    refused: AtomicU64,
    warnings: RateLimit,
}

impl Connections {
    /// Creates a handle without connections.
    ///
    /// # Panics
    ///
    /// Panics if a limit, or a timeout other than [`drain_timeout`](ListenConfig::drain_timeout), is
    /// zero.
    #[track_caller]
    pub fn new(config: ListenConfig) -> Self {
        config.check();
        Self(Arc::new(Inner {
            permits: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            rejections: Arc::new(Semaphore::new(MAX_REJECTIONS)),
            refused: AtomicU64::new(0),
            warnings: RateLimit::default(),
            config,
        }))
    }

    /// Returns the number of open connections, including connections upgraded to WebSocket.
    pub fn open(&self) -> usize {
        self.0.config.max_connections.saturating_sub(self.0.permits.available_permits())
    }

    /// Returns the number of connections rejected so far because
    /// [`max_connections`](ListenConfig::max_connections) were open.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Returns the options.
    pub fn config(&self) -> &ListenConfig {
        &self.0.config
    }

    /// Returns a permit for one more connection, or `None` at the limit. The permit must be held until the
    /// connection closes.
    pub(super) fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        self.0.permits.clone().try_acquire_owned().ok()
    }

    /// Counts a rejected connection. Returns a permit to send a 503 to the client, or `None` if too many 503
    /// responses are being sent.
    pub(super) fn try_reject(&self) -> Option<OwnedSemaphorePermit> {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        self.0.rejections.clone().try_acquire_owned().ok()
    }

    /// Returns `Some` if a warning may be logged, with the number of warnings suppressed before it.
    pub(super) fn may_warn(&self) -> Option<LogPermit> {
        self.0.warnings.try_acquire()
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
