//! Manages the sockets of one namespace and sends broadcasts to them. Broadcasts reach sockets of other
//! servers through a cluster backend.
//!
//! This module may import `metrics`, `event`, `config` and `proto`. It must not import `handles` or any layer
//! above `handles`, because sockets are type-erased here.

pub(crate) mod ack_collector;
pub(crate) mod acks;
pub(crate) mod cluster;
mod delivery;
pub(crate) mod event_log;
pub(crate) mod history;
pub(crate) mod hooks;
pub(crate) mod lifecycle;
pub(crate) mod observation;
pub(crate) mod recovery;
pub(crate) mod room_events;
pub(crate) mod rooms;
pub(crate) mod sending;
pub(crate) mod server_event;
pub(crate) mod slab;
pub(crate) mod socket_core;
pub(crate) mod summary;

use std::{
    fmt,
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engineio::{BoxFuture, SlowConsumerPolicy};
use parking_lot::RwLock;

use crate::{
    config::ServerConfig,
    event::error::JoinError,
    hub::{
        ack_collector::PendingBroadcast,
        cluster::{BroadcastFlags, Cluster, ClusterFull, Operation, RequestId, Responses, Unavailable},
        event_log::EventLog,
        hooks::{Hooks, RoomHook},
        observation::Observation,
        recovery::{Recovery, RecoveryState},
        room_events::RoomEvents,
        rooms::{Room, Rooms, Slot, Target},
        server_event::ServerEventFuture,
        socket_core::AnySocket,
        summary::Summary,
    },
    metrics::log::Limit,
    proto::{
        args::RawArgs,
        encode::{Encoder, Frames},
    },
};

/// The sockets and rooms of one namespace, and the connection of the namespace to the other servers.
///
/// Events are delivered to local sockets first. Local delivery never waits for another server.
pub(crate) struct Adapter {
    path: Arc<str>,
    pub(crate) config: Arc<ServerConfig>,
    /// The policy for clients that read too slowly.
    pub(crate) slow_consumer: SlowConsumerPolicy,
    rooms: RwLock<Rooms<AnySocket>>,
    next_ack: AtomicU64,
    /// `true` if the namespace has an observer of outgoing events.
    pub(crate) has_outgoing_observer: bool,
    /// The observers of all namespaces of the server.
    pub(crate) observation: Arc<Observation>,
    /// `Some` if connection state recovery is enabled and the broker has no event log.
    pub(crate) recovery: Option<Box<Recovery>>,
    /// `Some` if connection state recovery is enabled and the broker has an event log.
    pub(crate) event_log: Option<Box<EventLog>>,
    pub(crate) hooks: Arc<Hooks>,
    cluster: Option<Arc<Cluster>>,
}

/// The delivery options of an event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) volatile: bool,
    pub(crate) local: bool,
    pub(crate) uncompressed: bool,
}

impl Flags {
    /// Disables compression for the packet if `uncompressed` is set.
    pub(crate) fn apply_to(self, packet: Frames) -> Frames {
        if self.uncompressed { packet.uncompressed() } else { packet }
    }
}

impl From<Flags> for BroadcastFlags {
    fn from(Flags { volatile, uncompressed, .. }: Flags) -> Self {
        Self { volatile, uncompressed }
    }
}

impl Adapter {
    pub(crate) fn new(
        path: &str,
        config: Arc<ServerConfig>,
        cluster: Option<Arc<Cluster>>,
        observation: Arc<Observation>,
    ) -> Self {
        let max_buffered = config.engine.get_max_buffered();
        let limits = config.connection_state_recovery.clone();
        let store = cluster.as_ref().and_then(|cluster| cluster.backend().recovery());
        let (recovery, event_log) = match (limits, store) {
            (Some(limits), Some(store)) => (None, Some(Box::new(EventLog::new(store, limits)))),
            (Some(limits), None) => (Some(Box::new(Recovery::new(limits, max_buffered))), None),
            (None, _) => (None, None),
        };
        let mut rooms = Rooms::default();
        if let Some(cluster) = &cluster {
            cluster.backend().namespace_created(path);
            if cluster.backend().tracks_rooms() {
                rooms.track_changes();
            }
        }
        if event_log.is_some() {
            rooms.track_moved();
        }
        Self {
            path: path.into(),
            slow_consumer: config.engine.get_slow_consumer(),
            config,
            rooms: RwLock::new(rooms),
            next_ack: AtomicU64::new(0),
            has_outgoing_observer: false,
            observation,
            recovery,
            event_log,
            hooks: Arc::default(),
            cluster,
        }
    }

    pub(crate) fn with_hooks(mut self, hooks: Arc<Hooks>) -> Self {
        self.rooms.write().events =
            hooks.room.is_some().then(|| RoomEvents::new(self.config.max_room_events));
        self.hooks = hooks;
        self
    }

    /// Returns the path of the namespace.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the encoder for packets of the namespace.
    pub(crate) fn encoder(&self) -> Encoder<'_> {
        Encoder { namespace: &self.path, parser: self.config.parser.as_deref() }
    }

    /// Returns the number of sockets on this server.
    pub(crate) fn len(&self) -> usize {
        self.rooms.read().len()
    }

    /// Returns the number of sockets in a room on this server.
    pub(crate) fn count_in(&self, room: &str) -> usize {
        self.rooms.read().count_in(room)
    }

    /// Returns `true` if this server needs the broadcasts to a room. With connection state recovery, a client
    /// that was in the room may return.
    pub(crate) fn receives(&self, room: &str) -> bool {
        self.recovery.is_some() || self.event_log.is_some() || self.count_in(room) > 0
    }

    /// Returns the number of sockets of the target on this server.
    pub(crate) fn count(&self, target: &Target) -> usize {
        self.rooms.read().count(target)
    }

    /// Returns the socket with an id on this server.
    pub(crate) fn socket(&self, id: &str) -> Option<AnySocket> {
        self.rooms.read().find(id).cloned()
    }

    /// Changes rooms under the lock, and calls the room hook after unlocking.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Rooms<AnySocket>, Option<&mut RecoveryState>) -> T,
    ) -> T {
        let result = match &self.recovery {
            Some(recovery) => recovery.with(|memory| change(&mut self.rooms.write(), Some(memory))),
            None => change(&mut self.rooms.write(), None),
        };
        if let Some(cluster) = &self.cluster {
            self.notify_broker(cluster);
        }
        if let Some(log) = &self.event_log {
            let moved = self.rooms.write().take_moved();
            self.save_sessions(log, moved);
        }
        if let Some(hook) = &self.hooks.room {
            self.call_room_hook(hook);
        }
        result
    }

    /// Notifies the broker of the rooms that got their first socket or lost their last one.
    fn notify_broker(&self, cluster: &Cluster) {
        let changed = self.rooms.write().take_changes();
        for room in changed {
            cluster.backend().room_changed(&self.path, &room);
        }
    }

    fn call_room_hook(&self, hook: &RoomHook) {
        let take = |begun| self.rooms.write().events.as_mut()?.take(begun);
        let mut next = take(false);
        while let Some(events) = next {
            for event in events {
                if catch_unwind(AssertUnwindSafe(|| hook(event))).is_err() {
                    engineio::__log!(error, namespace = &*self.path, "the room hook panicked");
                }
            }
            next = take(true);
        }
    }

    pub(crate) fn rooms_of(&self, slot: Slot) -> Vec<Room> {
        self.rooms.read().rooms_of(slot)
    }

    /// Returns up to `max` rooms of a socket.
    pub(crate) fn first_rooms(&self, slot: Slot, max: usize) -> Vec<Room> {
        self.rooms.read().first_rooms(slot, max)
    }

    /// Returns a new acknowledgement id, which is unique in the namespace as in Node.js.
    pub(crate) fn next_ack(&self) -> u64 {
        self.next_ack.fetch_add(1, Ordering::Relaxed)
    }

    /// Publishes an operation to the other servers. The caller must have applied the operation to this
    /// server.
    pub(crate) fn publish(
        &self,
        flags: Flags,
        operation: impl FnOnce() -> Operation,
    ) -> Result<(), ClusterFull> {
        match &self.cluster {
            Some(cluster) if !flags.local => cluster.publish(&self.path, operation()),
            _ => Ok(()),
        }
    }

    /// Requests the other servers to deliver a broadcast and to collect its acknowledgements. The caller must
    /// have sent the broadcast to the sockets of this server.
    pub(crate) fn request_remote_acks(
        &self,
        pending: &mut PendingBroadcast,
        flags: Flags,
        operation: impl FnOnce(RequestId) -> Operation,
    ) {
        if let Some(cluster) = &self.cluster
            && !flags.local
        {
            pending.remote = Some(cluster.request_acks(&self.path, &pending.outcomes, operation));
        }
    }

    /// Sends a request to the other servers and collects their responses. Without a cluster, or if `flags`
    /// contains `local`, the result is empty.
    pub(crate) async fn gather(
        &self,
        flags: Flags,
        timeout: Option<Duration>,
        operation: impl FnOnce(RequestId) -> Operation,
    ) -> Responses {
        match &self.cluster {
            Some(cluster) if !flags.local => cluster.gather(&self.path, timeout, operation).await,
            _ => Responses::default(),
        }
    }

    /// Counts the servers that have the namespace, including this server.
    pub(crate) fn server_count(&self) -> BoxFuture<Result<usize, Unavailable>> {
        match &self.cluster {
            Some(cluster) => cluster.backend().server_count(self.path.clone()),
            None => Box::pin(ready(Ok(1))),
        }
    }

    /// Starts the handler of an event from another server. Returns `None` if the event has no handler.
    pub(crate) fn server_event(self: &Arc<Self>, name: &str, raw: RawArgs<'_>) -> Option<ServerEventFuture> {
        let handler = self.hooks.server_events.get(name)?;
        Some(server_event::start(handler, self.clone(), raw))
    }

    /// Returns `true` if sockets of recoverable clients get a secret.
    pub(crate) fn is_recoverable(&self) -> bool {
        self.recovery.is_some() || self.event_log.is_some()
    }

    /// Adds the sockets of the target to rooms. A room that would exceed the limit of a socket is skipped for
    /// this socket, and an error is returned at the end.
    pub(crate) fn join(&self, target: &Target, names: &[Room]) -> Result<(), JoinError> {
        let mut all_joined = Ok(());
        self.change(|rooms, memory| {
            for slot in rooms.select(target) {
                let join_all = |rooms: &mut Rooms<_>| {
                    for name in names {
                        if !rooms.join(slot, name, self.config.max_rooms) {
                            all_joined = Err(JoinError::TooManyRooms);
                        }
                    }
                };
                change_rooms_of(rooms, memory.as_deref(), slot, join_all);
            }
        });
        // Log after unlocking, because subscribers are foreign code, which must not run under the lock of the
        // rooms.
        if all_joined.is_err() {
            self.hooks.warnings.limit_hit(&self.path, Limit::MaxRooms);
        }
        all_joined
    }

    /// Removes the sockets of the target from rooms.
    pub(crate) fn leave(&self, target: &Target, names: &[Room]) {
        self.change(|rooms, memory| {
            for slot in rooms.select(target) {
                let leave_all = |rooms: &mut Rooms<_>| names.iter().for_each(|name| rooms.leave(slot, name));
                change_rooms_of(rooms, memory.as_deref(), slot, leave_all);
            }
        });
    }

    /// Disconnects the sockets of the target.
    pub(crate) fn disconnect(&self, target: &Target, close: bool) {
        // Collect the sockets first, because `close` and `disconnect` lock the rooms.
        let sockets = self.select(target, |_, socket, _| socket.clone());
        for socket in sockets {
            if close {
                socket.close();
            } else {
                socket.disconnect();
            }
        }
    }

    /// Returns the summaries of the sockets of the target.
    pub(crate) fn summaries(&self, target: &Target) -> Vec<Summary> {
        // Serialize the data after unlocking, because it runs the user's `Serialize`.
        let found = self.select(target, |rooms, socket, slot| (socket.clone(), rooms.rooms_of(slot)));
        let summary = |(socket, rooms): (AnySocket, Vec<Room>)| Summary {
            id: Room::from(socket.id().as_str()),
            handshake: socket.handshake().clone(),
            rooms,
            data: self.shared_data(&socket),
            admin_data: self.observation.admin_data(&socket),
        };
        found.into_iter().map(summary).collect()
    }

    pub(crate) fn select<T>(
        &self,
        target: &Target,
        f: impl Fn(&Rooms<AnySocket>, &AnySocket, Slot) -> T,
    ) -> Vec<T> {
        let rooms = self.rooms.read();
        let slots = rooms.select(target).into_iter();
        slots.filter_map(|slot| Some(f(&rooms, rooms.socket(slot)?, slot))).collect()
    }

    /// Returns up to `max` sockets on this server.
    pub(crate) fn first_sockets(&self, max: usize) -> Vec<AnySocket> {
        self.rooms.read().all().take(max).cloned().collect()
    }

    /// Returns the data of a socket as JSON text. `None` if the namespace does not share its data.
    pub(crate) fn shared_data(&self, socket: &AnySocket) -> Option<Box<str>> {
        let share = self.hooks.share?;
        let written = catch_unwind(AssertUnwindSafe(|| share(socket)));
        match written {
            Ok(Some(Ok(data))) => return Some(data.into()),
            Ok(Some(Err(error))) => {
                engineio::__log!(warn, namespace = &*self.path, %error, "the data of a socket cannot be shared");
            }
            Ok(None) => {}
            Err(_) => {
                engineio::__log!(error, namespace = &*self.path, "writing the data of a socket panicked");
            }
        }
        None
    }

    fn each(&self, target: &Target, f: impl FnMut(Slot, &AnySocket)) {
        if Rooms::<AnySocket>::needs_exclusive(target) {
            self.rooms.write().each(target, f);
        } else {
            self.rooms.read().each(target, f);
        }
    }
}

/// Changes the rooms of a socket, and records the change for connection state recovery.
pub(crate) fn change_rooms_of<T>(
    rooms: &mut Rooms<AnySocket>,
    memory: Option<&RecoveryState>,
    slot: Slot,
    change: impl FnOnce(&mut Rooms<AnySocket>) -> T,
) -> T {
    let before = rooms.joined(slot);
    let result = change(rooms);
    if rooms.joined(slot) == before {
        return result;
    }
    rooms.note_moved(slot);
    if let Some(memory) = memory
        && let Some(recoverable) = rooms.socket(slot).and_then(|socket| socket.recoverable())
    {
        recoverable.record_room_change(memory);
    }
    result
}

impl Drop for Adapter {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.backend().namespace_removed(&self.path);
        }
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("path", &self.path)
            .field("sockets", &self.len())
            .finish_non_exhaustive()
    }
}
