//! Connection state recovery: the sockets of clients that are gone for a short time, and how they come back.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
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
        history::{History, OffsetTemplate, Position, Recipients},
        rooms::Room,
        socket_core::AnySocket,
    },
    proto::encode::{Encoder, Frames},
};

/// The data of a socket, for the next one of its client.
pub(crate) type SharedData = Arc<dyn Any + Send + Sync>;

/// What a namespace remembers for clients that come back.
///
/// Its lock is taken before that of the rooms. Events are queued while it is held, so that their order is that of their
/// offsets for everyone, and none can slip between the end of one socket and the beginning of the next.
pub(crate) struct Recovery {
    pub(crate) skip_middlewares: bool,
    memory: Mutex<RecoveryState>,
}

/// What is behind that lock.
pub(crate) struct RecoveryState {
    limits: ConnectionStateRecovery,
    max_buffered: usize,
    history: History,
    /// The sockets that could come back, by the secret of their client.
    live: HashMap<Sid, AnySocket>,
    /// Those that are gone, the one that is gone for the longest first.
    saved: BTreeMap<u64, Saved>,
    tickets: HashMap<Sid, u64>,
    next_ticket: u64,
    /// Dropped when the lock is free again, because the data of a socket is of the user's type.
    forgotten: Vec<Saved>,
}

/// What a socket knows about its place among the events of its namespace. Changed under the lock of the [`RecoveryState`].
#[derive(Debug)]
pub(crate) struct Recoverable {
    /// The secret by which its client comes back.
    pub(crate) pid: Sid,
    pub(crate) recovered: bool,
    data: SharedData,
    /// Of all up to here, its client has those that were for it.
    seen: AtomicU64,
    /// The last event that was for it.
    sent: AtomicU64,
    /// When it last joined or left a room.
    moved: AtomicU64,
}

/// A socket that is gone.
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

/// What a client says about itself when it wants its socket back.
#[derive(Deserialize)]
pub(crate) struct Claim {
    pid: String,
    offset: Option<String>,
}

impl Claim {
    /// What a client claims, if it claims anything and may.
    pub(crate) fn read(handshake: &Handshake, session: &SessionHandle) -> Option<Self> {
        let auth = handshake.auth_json().filter(|_| !is_legacy(session))?;
        serde_json::from_str(auth).ok()
    }
}

impl Recoverable {
    pub(crate) fn new(data: SharedData) -> Self {
        let (seen, sent, moved) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { pid: Sid::random(), recovered: false, data, seen, sent, moved }
    }

    /// Notes that an event was for this socket. One that may be lost is no matter of the next.
    pub(crate) fn note_sent(&self, position: Position, flags: Flags) {
        if !flags.volatile {
            self.sent.store(position, Ordering::Relaxed);
        }
    }

    /// Notes that the rooms of this socket have changed.
    pub(crate) fn note_moved(&self, memory: &RecoveryState) {
        self.moved.store(memory.history.position(), Ordering::Relaxed);
    }

    /// Notes that the socket is in its namespace from now on.
    pub(crate) fn enter(&self, memory: &mut RecoveryState, socket: AnySocket) {
        let position = memory.history.position();
        for place in [&self.seen, &self.sent, &self.moved] {
            place.store(position, Ordering::Relaxed);
        }
        memory.live.insert(self.pid, socket);
    }

    /// Notes that the socket is not in its namespace any more.
    pub(crate) fn leave(&self, memory: &mut RecoveryState) {
        memory.live.remove(&self.pid);
        memory.live.shrink();
    }

    /// What is kept of the socket for its client.
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

    /// The beginning of the next socket of the client.
    pub(crate) fn recoverable(&self) -> Recoverable {
        Recoverable { pid: self.pid, recovered: true, ..Recoverable::new(self.data.clone()) }
    }

    /// After which event the client has missed some; `None` if that cannot be known.
    fn missed_after(&self, seen: Position) -> Option<Position> {
        let seen = seen.max(self.seen);
        if seen > self.left {
            return None;
        }
        if seen >= self.sent {
            // The others until it left were not for it.
            return Some(self.left);
        }
        // Which of those before it moved were for it is not known any more.
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

    /// Changes what is remembered, after what has expired is gone.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut RecoveryState) -> T) -> T {
        let mut memory = self.memory.lock();
        memory.purge(now());
        let result = change(&mut memory);
        let forgotten = std::mem::take(&mut memory.forgotten);
        drop(memory);
        drop(forgotten);
        result
    }

    /// Gives an event its offset and lets it be queued; it is kept for those for whom it was.
    ///
    /// Another parser encodes it under the lock, because an offset is known only when the event has its turn. If it
    /// fails, nothing is queued.
    pub(crate) fn send<T>(
        &self,
        encoder: Encoder<'_>,
        packet: &Frames,
        flags: Flags,
        queue: impl FnOnce(&Frames, Position) -> (Option<Recipients>, T),
    ) -> Result<T, serde_json::Error> {
        let mut unstamped = OffsetTemplate::new(encoder, packet, flags.uncompressed);
        self.with(|memory| {
            let RecoveryState { history, limits, .. } = memory;
            // One that is not kept says once more what the client has seen.
            let position = history.position() + u64::from(!flags.volatile);
            let frames = unstamped.stamp(history.offset(position))?;
            let (recipients, result) = queue(&frames, position);
            if let Some(recipients) = recipients.filter(|_| !flags.volatile) {
                history.push(now(), recipients, &frames, limits);
            }
            Ok(result)
        })
    }

    /// Gives the socket that is gone to its client, once.
    ///
    /// The server may not have noticed that it is gone: then it ends now.
    pub(crate) fn take(&self, claim: &Claim) -> Option<Saved> {
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
    /// Keeps a socket that is gone.
    pub(crate) fn save(&mut self, saved: Saved) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(saved.pid, ticket);
        self.saved.insert(ticket, saved);
        while self.saved.len() > self.limits.max_sessions {
            self.forget_first();
        }
    }

    /// The events that a client has missed, for a queue that holds so many bytes already; `None` if they are not known,
    /// or too many. The next socket of the client goes on behind them.
    pub(crate) fn catch_up(
        &self,
        saved: &Saved,
        claim: &Claim,
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

    /// Notes that the next socket of a client is in its namespace.
    pub(crate) fn revive(&mut self, pid: Sid, socket: AnySocket) {
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
