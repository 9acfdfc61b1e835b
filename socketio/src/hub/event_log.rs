//! Connection state recovery with an event log that all servers of a cluster share, so that a client can
//! reconnect to any server.
//!
//! Events to recoverable sockets are appended to the log first, and are delivered when the log returns them.
//! All servers deliver them in the order of the log, with their offsets.

use std::{sync::Arc, time::Duration};

use engineio::Sid;
use parking_lot::Mutex;

use crate::{
    config::ConnectionStateRecovery,
    hub::{
        Adapter, Flags,
        cluster::{LogOffset, Operation, RecoveryStore, SavedSession},
        recovery::{Recoverable, RecoveryClaim},
        rooms::{Room, Target},
        socket_core::AnySocket,
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
    /// Locked while a session is queued, so the last state of a socket is queued last.
    saving: Mutex<()>,
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
        Self { store, limits, delivered: Mutex::default(), saving: Mutex::default() }
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

    /// Returns the time between two saves of the session of a connected socket.
    pub(crate) fn refresh_interval(limits: &ConnectionStateRecovery) -> Duration {
        limits.max_disconnection_duration / 2
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

/// The sessions of sockets, which are saved so that their clients can be recovered by any server: as long as they are
/// connected, because a server may end without notice, and when they are disconnected.
impl Adapter {
    /// Saves the sessions of connected sockets.
    pub(crate) fn save_sessions(&self, log: &EventLog, sids: Vec<Sid>) {
        let duration = log.limits.max_disconnection_duration + EventLog::refresh_interval(&log.limits);
        for sid in sids {
            let Some(socket) = self.socket(sid.as_str()) else { continue };
            // This runs the user's `Serialize`.
            let data = self.shared_data(&socket);
            let _saving = log.saving.lock();
            let rooms = self.rooms.read().find_rooms(sid);
            if let (Some(rooms), Some(recoverable)) = (rooms, socket.recoverable()) {
                let session = session(sid, recoverable.pid, rooms, data, true);
                log.store.save(&self.path, session, duration);
            }
        }
    }

    /// Saves the sessions of a part of the connected sockets again, before they expire.
    pub(crate) fn refresh_sessions(&self, part: u32, parts: u32) {
        if let Some(log) = &self.event_log {
            let sids = self.rooms.read().ids_at(part, parts);
            self.save_sessions(log, sids);
        }
    }

    /// Saves the session of a disconnected socket if its client may be recovered, and removes it otherwise.
    pub(crate) fn end_session(&self, socket: &AnySocket, rooms: Vec<Room>, is_recoverable: bool) {
        let (Some(log), Some(recoverable)) = (&self.event_log, socket.recoverable()) else { return };
        let data = if is_recoverable { self.shared_data(socket) } else { None };
        let _saving = log.saving.lock();
        if is_recoverable {
            let session = session(socket.id(), recoverable.pid, rooms, data, false);
            log.store.save(&self.path, session, log.limits.max_disconnection_duration);
        } else {
            log.store.remove(&self.path, recoverable.pid.as_str());
        }
    }

    /// Disconnects the socket of a client that has returned to this server before its end was noticed.
    pub(crate) fn replace_socket(&self, sid: Sid) {
        if let Some(old) = self.socket(sid.as_str()) {
            old.replace();
        }
        let target = Target::new(vec![sid.as_str().into()], Vec::new());
        // If the queue is full, the other server notices the end of the connection by itself.
        let _ = self.publish(Flags::default(), || Operation::Disconnect { target, close: true });
    }
}

fn session(sid: Sid, pid: Sid, rooms: Vec<Room>, data: Option<Box<str>>, is_connected: bool) -> SavedSession {
    SavedSession {
        sid: sid.as_str().to_owned(),
        pid: pid.as_str().to_owned(),
        rooms,
        data: data.unwrap_or_else(|| "{}".into()),
        is_connected,
    }
}
