//! Whether another session may begin, and which one gives way to it.

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

/// An extension of a request that came before the answer to the one in front of it had left: how many sessions were
/// asked for in this way on its connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pipelined(Arc<AtomicU32>);

impl Pipelined {
    /// Counts one more session; says whether it is one of the first `max`.
    pub(crate) fn allows(&self, max: u32) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < max
    }
}

/// What is known of sessions that begin.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Sessions whose WebSocket is not there yet.
    opening: AtomicUsize,
    rate: Mutex<TokenBucket>,
    pending: Mutex<Pending>,
    addresses: Arc<Addresses>,
}

/// A session that begins; it counts as one until it is dropped, and by itself once it is registered.
pub(crate) struct AdmissionGuard<A> {
    pub(crate) shared: Arc<Shared<A>>,
    address_permit: Option<Box<AddressPermit>>,
}

/// What a session holds of the limits of its server.
#[derive(Debug)]
pub(crate) struct SessionPermit {
    /// As long as it is pending.
    pending_key: Option<PendingKey>,
    /// If the sessions of an address are limited.
    address_permit: Option<Box<AddressPermit>>,
}

impl<A> AdmissionGuard<A> {
    /// Lets a session begin, or says which limit forbids it. If there are too many, a pending one gives way.
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
            let entered = admission.addresses.enter(address.ip(), max, Instant::now());
            address_permit = Some(entered.ok_or(Limit::MaxSessionsPerAddress)?);
        }
        let opening = admission.opening.fetch_add(1, Ordering::Relaxed);
        // From here on, dropping takes it back.
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

    /// The session is registered. A pending one is told apart until it is confirmed or has gone.
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

    /// The session is pending no more.
    pub(crate) fn confirm(&mut self, admission: &Admission) {
        if let Some(pending_key) = self.pending_key.take() {
            admission.pending.lock().remove(pending_key);
        }
    }

    /// The client has closed the session: its address may open another one, although a late poll may still come.
    pub(crate) fn leave_address(&mut self) {
        self.address_permit = None;
    }

    /// The session has ended.
    pub(crate) fn leave(&mut self, admission: &Admission) {
        self.confirm(admission);
        self.address_permit = None;
    }
}
