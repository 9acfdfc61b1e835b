//! Connection state recovery with an event log that all servers of a cluster share, so that a client can
//! reconnect to any server.
//!
//! Events to recoverable sockets are appended to the log first, and are delivered when the log returns them.
//! All servers deliver them in the order of the log, with their offsets.

use std::sync::Arc;

use engineio::Sid;
use parking_lot::Mutex;

use crate::{
    config::ConnectionStateRecovery,
    hub::{
        cluster::{LogOffset, Operation, RecoveryStore, SavedSession},
        recovery::{Recoverable, RecoveryClaim},
        rooms::Room,
    },
    proto::encode::Frames,
};

/// The event log of a namespace.
pub(crate) struct EventLog {
    store: Arc<dyn RecoveryStore>,
    limits: ConnectionStateRecovery,
    /// The offset of the last delivered event. Locked while an event is delivered, and while a recovered
    /// socket joins, so the socket misses no event.
    delivered: Mutex<LogOffset>,
}

/// A saved session, and the offset of the last event that the client has received.
pub(crate) struct Claimed {
    pub(crate) session: SavedSession,
    pub(crate) sid: Sid,
    pub(crate) pid: Sid,
    offset: LogOffset,
}

/// The events that a client has missed, with their offsets.
pub(crate) struct Missed {
    pub(crate) events: Vec<(LogOffset, Frames)>,
    /// The log was read up to this offset.
    pub(crate) until: LogOffset,
    bytes: usize,
}

impl Missed {
    pub(crate) fn after(claimed: &Claimed) -> Self {
        Self { events: Vec::new(), until: claimed.offset, bytes: 0 }
    }
}

impl EventLog {
    pub(crate) fn new(store: Arc<dyn RecoveryStore>, limits: ConnectionStateRecovery) -> Self {
        Self { store, limits, delivered: Mutex::default() }
    }

    pub(crate) fn skips_middlewares(&self) -> bool {
        self.limits.skip_middlewares
    }

    /// Delivers an event with its offset.
    pub(crate) fn deliver(&self, offset: LogOffset, deliver: impl FnOnce()) {
        let mut delivered = self.delivered.lock();
        *delivered = offset;
        deliver();
    }

    /// Saves the session of a disconnected socket.
    pub(crate) fn save(&self, namespace: &str, sid: Sid, pid: Sid, rooms: Vec<Room>, data: Option<Box<str>>) {
        let session = SavedSession {
            sid: sid.as_str().to_owned(),
            pid: pid.as_str().to_owned(),
            rooms,
            data: data.unwrap_or_else(|| "{}".into()),
        };
        self.store.save(namespace, session, self.limits.max_disconnection_duration);
    }

    /// Removes and returns the session that a client claims.
    pub(crate) async fn take(&self, namespace: &str, claim: &RecoveryClaim) -> Option<Claimed> {
        let pid = Sid::parse(claim.pid())?;
        let offset: LogOffset = claim.offset()?.parse().ok()?;
        let session = self.store.take(namespace.into(), claim.pid().to_owned(), offset).await?;
        let sid = Sid::parse(&session.sid)?;
        Some(Claimed { session, sid, pid, offset })
    }

    /// Reads the log from `missed.until` to its end, and adds the events to the socket. Returns `None` if an
    /// event may be missing, or if there are too many.
    pub(crate) async fn read(&self, namespace: &str, claimed: &Claimed, missed: &mut Missed) -> Option<()> {
        let entries = self.store.read(namespace.into(), claimed.offset, missed.until).await?;
        for (offset, message) in entries.messages {
            let Operation::Broadcast { target, packet, flags } = &message.operation else { continue };
            if flags.volatile || !target.selects(claimed.sid, &claimed.session.rooms) {
                continue;
            }
            missed.bytes += packet.payload_len();
            if missed.events.len() >= self.limits.max_missed_packets
                || missed.bytes > self.limits.max_missed_bytes
            {
                return None;
            }
            missed.events.push((offset, packet.0.clone()));
        }
        missed.until = entries.until;
        Some(())
    }

    /// Calls `enter` if no event after `until` was delivered. Otherwise, the log must be read again.
    pub(crate) fn enter<T>(
        &self,
        until: LogOffset,
        recoverable: &Recoverable,
        enter: impl FnOnce() -> T,
    ) -> Option<T> {
        let delivered = self.delivered.lock();
        if *delivered > until {
            return None;
        }
        recoverable.set_replayed(until);
        Some(enter())
    }
}
