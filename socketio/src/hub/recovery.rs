//! Implements connection state recovery, which restores the sockets of clients that reconnect after a short
//! interruption.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use engineio::{__Shrink as Shrink, SessionHandle, Sid};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::{
    config::ConnectionStateRecovery,
    event::{handshake::Handshake, legacy::is_legacy},
    hub::{
        Flags,
        cluster::LogOffset,
        history::{History, OffsetTemplate, Position, Recipients},
        rooms::Room,
        socket_core::AnySocket,
    },
    proto::encode::{Encoder, Frames},
};

/// The data of a socket, which is shared with the next socket of the client.
pub(crate) type SharedData = Arc<dyn Any + Send + Sync>;

/// The recovery state of a namespace.
///
/// This lock must be acquired before the lock of the rooms. Events are queued while the lock is held, so all
/// recipients receive events in the order of their offsets, and no event is lost between a socket and the
/// next socket of its client.
pub(crate) struct Recovery {
    pub(crate) skip_middlewares: bool,
    memory: Mutex<RecoveryState>,
}

/// The part of [`Recovery`] that is protected by the lock.
pub(crate) struct RecoveryState {
    limits: ConnectionStateRecovery,
    max_buffered: usize,
    history: History,
    /// The connected sockets that can be recovered, by the secret of the client.
    live: HashMap<Sid, AnySocket>,
    /// The saved state of disconnected sockets. The socket that was disconnected first has the lowest ticket.
    saved: BTreeMap<u64, Saved>,
    tickets: HashMap<Sid, u64>,
    next_ticket: u64,
    /// Removed states, which are dropped after unlocking because the data of a socket has a user-defined
    /// type.
    forgotten: Vec<Saved>,
}

/// The position of a socket among the events of its namespace. Changed only while the [`RecoveryState`] is
/// locked.
#[derive(Debug)]
pub(crate) struct Recoverable {
    /// The secret that a client must send to recover its socket.
    pub(crate) pid: Sid,
    pub(crate) recovered: bool,
    data: SharedData,
    /// The position up to which the client is known to have received all events for this socket.
    seen: AtomicU64,
    /// The position of the last event that was sent to this socket.
    sent: AtomicU64,
    /// The position at which the socket last joined or left a room.
    moved: AtomicU64,
    /// With an event log that servers share: the offset up to which the events were sent when the socket was
    /// recovered.
    replayed: OnceLock<LogOffset>,
}

/// The saved state of a disconnected socket.
pub(crate) struct Saved {
    at: Instant,
    sid: Sid,
    pid: Sid,
    rooms: Vec<Room>,
    data: SharedData,
    seen: Position,
    sent: Position,
    moved: Position,
    left: Position,
}

/// The claim of a reconnecting client to its old socket.
#[derive(Deserialize)]
pub(crate) struct RecoveryClaim {
    pid: String,
    offset: Option<String>,
}

impl RecoveryClaim {
    /// Parses the claim from the handshake. Returns `None` if the handshake contains no valid claim, or if
    /// the client is of version 2.
    pub(crate) fn read(handshake: &Handshake, session: &SessionHandle) -> Option<Self> {
        let auth = handshake.auth_json().filter(|_| !is_legacy(session))?;
        serde_json::from_str(auth).ok()
    }
}

impl RecoveryClaim {
    pub(crate) fn pid(&self) -> &str {
        &self.pid
    }

    pub(crate) fn offset(&self) -> Option<&str> {
        self.offset.as_deref()
    }
}

impl Recoverable {
    pub(crate) fn new(data: SharedData) -> Self {
        let (seen, sent, moved) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let (pid, replayed) = (Sid::random(), OnceLock::new());
        Self { pid, recovered: false, data, seen, sent, moved, replayed }
    }

    /// Returns the state of a socket that is recovered from an event log.
    pub(crate) fn recovered(pid: Sid, data: SharedData) -> Self {
        Self { pid, recovered: true, ..Self::new(data) }
    }

    /// Records that the events of the log up to this offset were sent.
    pub(crate) fn set_replayed(&self, until: LogOffset) {
        let _ = self.replayed.set(until);
    }

    /// Returns `true` if the event at this offset was already sent when the socket was recovered.
    pub(crate) fn was_replayed(&self, offset: LogOffset) -> bool {
        self.replayed.get().is_some_and(|until| offset <= *until)
    }

    /// Records that an event was sent to this socket. Volatile events are not recorded, because they need not
    /// be delivered.
    pub(crate) fn record_sent(&self, position: Position, flags: Flags) {
        if !flags.volatile {
            self.sent.store(position, Ordering::Relaxed);
        }
    }

    /// Records that the rooms of this socket have changed.
    pub(crate) fn record_room_change(&self, memory: &RecoveryState) {
        self.moved.store(memory.history.position(), Ordering::Relaxed);
    }

    /// Records that the socket has joined its namespace.
    pub(crate) fn enter(&self, memory: &mut RecoveryState, socket: AnySocket) {
        let position = memory.history.position();
        for place in [&self.seen, &self.sent, &self.moved] {
            place.store(position, Ordering::Relaxed);
        }
        memory.live.insert(self.pid, socket);
    }

    /// Records that the socket has left its namespace.
    pub(crate) fn leave(&self, memory: &mut RecoveryState) {
        memory.live.remove(&self.pid);
        memory.live.shrink();
    }

    /// Returns the state that is saved when the socket is disconnected.
    pub(crate) fn save(&self, memory: &RecoveryState, sid: Sid, rooms: &[Room]) -> Saved {
        Saved {
            at: now(),
            sid,
            pid: self.pid,
            rooms: rooms.to_vec(),
            data: self.data.clone(),
            seen: self.seen.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            moved: self.moved.load(Ordering::Relaxed),
            left: memory.history.position(),
        }
    }
}

impl Saved {
    pub(crate) fn sid(&self) -> Sid {
        self.sid
    }

    pub(crate) fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    pub(crate) fn data(&self) -> &SharedData {
        &self.data
    }

    /// Returns the initial state of the next socket of the client.
    pub(crate) fn recoverable(&self) -> Recoverable {
        Recoverable { pid: self.pid, recovered: true, ..Recoverable::new(self.data.clone()) }
    }

    /// Returns the position after which the client has missed events, or `None` if the position is unknown.
    fn missed_after(&self, seen: Position) -> Option<Position> {
        let seen = seen.max(self.seen);
        if seen > self.left {
            return None;
        }
        if seen >= self.sent {
            // No event between `seen` and the disconnection was sent to the socket.
            return Some(self.left);
        }
        // Recipients of events before the last room change are unknown, because only the last rooms are
        // saved.
        (seen >= self.moved).then_some(seen)
    }
}

impl Recovery {
    pub(crate) fn new(limits: ConnectionStateRecovery, max_buffered: usize) -> Self {
        Self {
            skip_middlewares: limits.skip_middlewares,
            memory: Mutex::new(RecoveryState {
                limits,
                max_buffered,
                history: History::default(),
                live: HashMap::new(),
                saved: BTreeMap::new(),
                tickets: HashMap::new(),
                next_ticket: 0,
                forgotten: Vec::new(),
            }),
        }
    }

    /// Removes expired state, then calls `change` with the state.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut RecoveryState) -> T) -> T {
        let mut memory = self.memory.lock();
        memory.purge(now());
        let result = change(&mut memory);
        let forgotten = std::mem::take(&mut memory.forgotten);
        drop(memory);
        drop(forgotten);
        result
    }

    /// Assigns an offset to an event, queues the event, and stores it with its recipients.
    ///
    /// A custom parser encodes the event under the lock, because the offset is known only then. If encoding
    /// fails, nothing is queued.
    pub(crate) fn send<T>(
        &self,
        encoder: Encoder<'_>,
        packet: &Frames,
        flags: Flags,
        queue: impl FnOnce(&Frames, Position) -> (Option<Recipients>, T),
    ) -> Result<T, serde_json::Error> {
        let mut template = OffsetTemplate::new(encoder, packet, flags.uncompressed);
        self.with(|memory| {
            let RecoveryState { history, limits, .. } = memory;
            // A volatile event is not stored. It is sent with the offset of the last stored event.
            let position = history.position() + u64::from(!flags.volatile);
            let frames = template.stamp(history.offset(position))?;
            let (recipients, result) = queue(&frames, position);
            if let Some(recipients) = recipients.filter(|_| !flags.volatile) {
                history.push(now(), recipients, &frames, limits);
            }
            Ok(result)
        })
    }

    /// Removes and returns the saved socket that a client claims. A socket can be claimed only once.
    ///
    /// If the server has not yet detected that the client was disconnected, the old socket is removed first.
    pub(crate) fn take(&self, claim: &RecoveryClaim) -> Option<Saved> {
        let pid = Sid::parse(&claim.pid)?;
        if let Some(socket) = self.with(|memory| memory.live.get(&pid).cloned()) {
            socket.replace();
        }
        self.with(|memory| {
            let ticket = memory.tickets.remove(&pid)?;
            memory.tickets.shrink();
            memory.saved.remove(&ticket)
        })
    }
}

impl RecoveryState {
    /// Saves a disconnected socket.
    pub(crate) fn save(&mut self, saved: Saved) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(saved.pid, ticket);
        self.saved.insert(ticket, saved);
        while self.saved.len() > self.limits.max_sessions {
            self.forget_first();
        }
    }

    /// Returns the events that a client has missed, or `None` if they are unknown or exceed a limit. The
    /// queue of the client already contains `buffered` bytes. Initializes the positions of `next`, the next
    /// socket of the client.
    pub(crate) fn catch_up(
        &self,
        saved: &Saved,
        claim: &RecoveryClaim,
        next: &Recoverable,
        buffered: usize,
    ) -> Option<Vec<Frames>> {
        let seen = claim.offset.as_deref().map_or(Some(0), |offset| self.history.read(offset))?;
        let after = saved.missed_after(seen)?;
        let max_bytes = self.max_buffered.saturating_sub(buffered);
        let missed = self.history.missed(after, saved.sid, &saved.rooms, &self.limits, max_bytes)?;
        let sent = missed.last().map_or(after, |(position, _)| *position);
        next.seen.store(after, Ordering::Relaxed);
        next.moved.store(after, Ordering::Relaxed);
        next.sent.store(sent, Ordering::Relaxed);
        Some(missed.into_iter().map(|(_, frames)| frames).collect())
    }

    /// Records that the next socket of a client has joined its namespace.
    pub(crate) fn on_rejoin(&mut self, pid: Sid, socket: AnySocket) {
        self.live.insert(pid, socket);
    }

    fn purge(&mut self, now: Instant) {
        self.history.purge(now, &self.limits);
        let max = self.limits.max_disconnection_duration;
        let is_old = |saved: &Saved| now.duration_since(saved.at) > max;
        while self.saved.first_key_value().is_some_and(|(_, saved)| is_old(saved)) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, saved)) = self.saved.pop_first() {
            self.tickets.remove(&saved.pid);
            self.tickets.shrink();
            self.forgotten.push(saved);
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_sockets_that_are_forgotten_come_back() {
        let recovery = Recovery::new(ConnectionStateRecovery::default().max_sessions(1000), 0);
        for _ in 0..1000 {
            recovery.with(|memory| {
                let saved = Recoverable::new(Arc::new(())).save(memory, Sid::random(), &[]);
                memory.save(saved);
            });
        }
        recovery.with(|memory| {
            memory.limits.max_sessions = 1;
            memory.save(Recoverable::new(Arc::new(())).save(memory, Sid::random(), &[]));
            assert!(memory.tickets.capacity() <= 16);
        });
    }
}
