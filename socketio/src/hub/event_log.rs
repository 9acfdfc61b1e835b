//! Connection state recovery with an event log that all servers of a cluster share, so that a client can
//! reconnect to any server.
//!
//! Events to recoverable sockets are appended to the log first, and are delivered when the log returns them.
//! All servers deliver them in the order of the log, with their offsets.

use std::{collections::VecDeque, sync::Arc, time::Duration};

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
    /// Locked while an event is delivered, and while a recovered socket joins, so the socket misses no event.
    delivered: Mutex<Delivered>,
    /// Locked while a session is queued, so the last state of a socket is queued last.
    saving: Mutex<()>,
}

/// The events that this server has delivered.
#[derive(Default)]
struct Delivered {
    /// The offset of the last event.
    last: LogOffset,
    /// The number of clients that are being recovered.
    recovering: usize,
    /// While clients are recovered: the events after `tail_start`. Without them, a client would have to read the log until
    /// no event is delivered meanwhile, which never happens if there are many.
    tail: VecDeque<(LogOffset, Target, Frames)>,
    tail_start: LogOffset,
    tail_bytes: usize,
}

impl Delivered {
    /// Records an event, and removes the oldest ones beyond the limits.
    fn record(
        &mut self,
        offset: LogOffset,
        target: &Target,
        packet: &Frames,
        limits: &ConnectionStateRecovery,
    ) {
        self.tail.push_back((offset, target.clone(), packet.clone()));
        self.tail_bytes += packet.payload_len();
        while self.tail.len() > limits.max_missed_packets || self.tail_bytes > limits.max_missed_bytes {
            let Some((offset, _, packet)) = self.tail.pop_front() else { break };
            self.tail_start = offset;
            self.tail_bytes -= packet.payload_len();
        }
    }
}

/// Records the delivered events while a client is recovered. Created by [`EventLog::follow`].
pub(crate) struct Following<'a>(&'a EventLog);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let mut delivered = self.0.delivered.lock();
        delivered.recovering -= 1;
        if delivered.recovering == 0 {
            delivered.tail = VecDeque::new();
            delivered.tail_bytes = 0;
        }
    }
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
    /// All events up to this offset are known.
    until: LogOffset,
    bytes: usize,
}

/// The result of [`EventLog::enter`].
pub(crate) enum Entered {
    Joined,
    /// The client has missed too many events, or `enter` has failed.
    Refused,
    /// The events since the log was read are not recorded any more, so it must be read again.
    Behind,
}

impl Missed {
    pub(crate) fn after(claimed: &Claimed) -> Self {
        Self { events: Vec::new(), until: claimed.offset, bytes: 0 }
    }

    /// Adds an event. Returns `None` if there are too many.
    fn add(&mut self, offset: LogOffset, packet: &Frames, limits: &ConnectionStateRecovery) -> Option<()> {
        self.bytes += packet.payload_len();
        if self.events.len() >= limits.max_missed_packets || self.bytes > limits.max_missed_bytes {
            return None;
        }
        self.events.push((offset, packet.clone()));
        Some(())
    }
}

impl EventLog {
    pub(crate) fn new(store: Arc<dyn RecoveryStore>, limits: ConnectionStateRecovery) -> Self {
        Self { store, limits, delivered: Mutex::default(), saving: Mutex::default() }
    }

    pub(crate) fn skips_middlewares(&self) -> bool {
        self.limits.skip_middlewares
    }

    /// Delivers an event with its offset. `is_missed` is `false` if a client that is being recovered need not receive it.
    pub(crate) fn deliver(
        &self,
        offset: LogOffset,
        (target, packet): (&Target, &Frames),
        is_missed: bool,
        deliver: impl FnOnce(),
    ) {
        let mut delivered = self.delivered.lock();
        delivered.last = offset;
        if is_missed && delivered.recovering > 0 {
            delivered.record(offset, target, packet, &self.limits);
        }
        deliver();
    }

    /// Records the events that are delivered from now on, until the result is dropped.
    pub(crate) fn follow(&self) -> Following<'_> {
        let mut delivered = self.delivered.lock();
        if delivered.recovering == 0 {
            delivered.tail_start = delivered.last;
        }
        delivered.recovering += 1;
        Following(self)
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
            missed.add(offset, &packet.0, &self.limits)?;
        }
        missed.until = entries.until;
        Some(())
    }

    /// Adds the events that were delivered since the log was read, and calls `enter` before another one is delivered.
    /// The caller [follows](Self::follow) the log since before it was read.
    pub(crate) fn enter(
        &self,
        claimed: &Claimed,
        missed: &mut Missed,
        recoverable: &Recoverable,
        enter: impl FnOnce(&Missed) -> Option<()>,
    ) -> Entered {
        let delivered = self.delivered.lock();
        if delivered.last > missed.until {
            if delivered.tail_start > missed.until {
                return Entered::Behind;
            }
            for (offset, target, packet) in &delivered.tail {
                let is_missed = *offset > missed.until && target.selects(claimed.sid, &claimed.session.rooms);
                if is_missed && missed.add(*offset, packet, &self.limits).is_none() {
                    return Entered::Refused;
                }
            }
            missed.until = delivered.last;
        }
        recoverable.set_replayed(missed.until);
        enter(missed).map_or(Entered::Refused, |()| Entered::Joined)
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
