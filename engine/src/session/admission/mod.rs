//! Admission of new sessions, which enforces the limits on sessions and evicts pending sessions.

mod addresses;
mod pending;
mod rate;

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use http::Extensions;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::{
    addresses::{AddressPermit, Addresses},
    pending::{Pending, PendingKey},
    rate::TokenBucket,
};
use super::shared::Shared;
use crate::{Limit, RemoteAddr, SessionHandle};

/// A request extension, set on each request that arrived before the previous response was written. It counts
/// the pipelined handshakes of the connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pipelined(Arc<AtomicU32>);

impl Pipelined {
    /// Counts one more handshake. Returns `true` for the first `max` handshakes.
    pub(crate) fn allows(&self, max: u32) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < max
    }
}

/// The state of admission, shared by all sessions of a server.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// The number of [`AdmissionGuard`]s, which are the sessions that are admitted but not yet registered.
    opening: AtomicUsize,
    rate: Mutex<TokenBucket>,
    pending: Mutex<Pending>,
    addresses: Arc<Addresses>,
}

/// A guard for an admitted session. It counts against `max_sessions` until it is dropped. Once the session is
/// registered, the session itself counts.
pub(crate) struct AdmissionGuard<A> {
    pub(crate) shared: Arc<Shared<A>>,
    address_permit: Option<Box<AddressPermit>>,
}

/// The permit of a registered session, which counts against the server's limits.
#[derive(Debug)]
pub(crate) struct SessionPermit {
    /// `Some` while the session is pending.
    pending_key: Option<PendingKey>,
    /// `Some` if the sessions of an address are limited.
    address_permit: Option<Box<AddressPermit>>,
}

impl<A> AdmissionGuard<A> {
    /// Admits a session, or returns the limit that was exceeded. At `max_sessions`, the oldest pending
    /// session is evicted.
    pub(crate) fn new(shared: &Arc<Shared<A>>, request: &Extensions) -> Result<Self, Limit> {
        let Shared { config, admission, registry, .. } = &**shared;
        let pipelined = request.get::<Pipelined>();
        if pipelined.is_some_and(|pipelined| !pipelined.allows(config.max_pipelined_handshakes)) {
            return Err(Limit::MaxPipelinedHandshakes);
        }
        let mut address_permit = None;
        if config.max_sessions_per_address < u32::MAX
            && let Some(RemoteAddr(address)) = request.get()
        {
            let max = config.max_sessions_per_address;
            let entered = admission.addresses.try_acquire(address.ip(), max, Instant::now());
            address_permit = Some(entered.ok_or(Limit::MaxSessionsPerAddress)?);
        }
        let opening = admission.opening.fetch_add(1, Ordering::Relaxed);
        // From here on, dropping `this` reverts the count.
        let this = Self { shared: shared.clone(), address_permit };
        if !admission.rate.lock().allows(Instant::now(), config.max_handshakes_per_second) {
            return Err(Limit::MaxHandshakesPerSecond);
        }
        if registry.len() + opening >= config.max_sessions {
            let oldest = admission.pending.lock().pop_oldest();
            shared.evict(&oldest.ok_or(Limit::MaxSessions)?, Limit::MaxSessions);
        }
        Ok(this)
    }

    /// Turns the guard into the permit of a registered session. A pending session is tracked until it is
    /// confirmed or closed.
    pub(crate) fn register(mut self, session: &SessionHandle, is_pending: bool) -> SessionPermit {
        let address_permit = self.address_permit.take();
        if !is_pending {
            return SessionPermit { pending_key: None, address_permit };
        }
        let Shared { config, admission, .. } = &*self.shared;
        let (pending_key, oldest) =
            admission.pending.lock().push(session.clone(), config.max_pending_sessions);
        if let Some(oldest) = oldest {
            self.shared.evict(&oldest, Limit::MaxPendingSessions);
        }
        SessionPermit { pending_key: Some(pending_key), address_permit }
    }
}

impl<A> Drop for AdmissionGuard<A> {
    fn drop(&mut self) {
        self.shared.admission.opening.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SessionPermit {
    pub(crate) fn is_pending(&self) -> bool {
        self.pending_key.is_some()
    }

    /// Marks the session as no longer pending.
    pub(crate) fn confirm(&mut self, admission: &Admission) {
        if let Some(pending_key) = self.pending_key.take() {
            admission.pending.lock().remove(pending_key);
        }
    }

    /// Releases the permit of the client's address. Called when the client has closed the session, although a
    /// late poll may still arrive.
    pub(crate) fn release_address(&mut self) {
        self.address_permit = None;
    }

    /// Releases all permits. Called when the session is closed.
    pub(crate) fn release(&mut self, admission: &Admission) {
        self.confirm(admission);
        self.address_permit = None;
    }
}
