//! The sockets of one namespace, and broadcasts to them: here, and on other servers through a backend.

pub(crate) mod ack_collector;
pub(crate) mod acks;
pub(crate) mod cluster;
pub(crate) mod history;
pub(crate) mod recovery;
pub(crate) mod room_events;
pub(crate) mod rooms;
pub(crate) mod sending;
pub(crate) mod server_event;
pub(crate) mod slab;
pub(crate) mod socket_core;
pub(crate) mod summary;

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use engineio::SlowConsumerPolicy;
use parking_lot::RwLock;

use crate::{
    config::ServerConfig,
    event::error::{EmitError, JoinError},
    hub::{
        ack_collector::{AckCollector, Outcome, PendingBroadcast},
        acks::AckWaiter,
        cluster::{Cluster, ClusterFull, Gathered, Op},
        history::Recipients,
        recovery::{Recovery, RecoveryState},
        room_events::{RoomEvent, RoomEvents},
        rooms::{Room, Rooms, Slot, Target},
        sending::notify_sent,
        server_event::{ServerEventFuture, ServerHandler},
        socket_core::AnySocket,
        summary::Summary,
    },
    metrics::{
        NamespaceMetrics,
        log::{Limit, Warnings},
    },
    proto::{
        args::RawArgs,
        encode::{Encoder, Frames},
    },
};

/// The rooms of one namespace, and the way to its other servers.
///
/// Local delivery comes first, never waits for another server, and never depends on one.
pub(crate) struct Adapter {
    path: Box<str>,
    pub(crate) config: Arc<ServerConfig>,
    /// What happens to events for clients that do not keep up.
    pub(crate) slow_consumer: SlowConsumerPolicy,
    rooms: RwLock<Rooms<AnySocket>>,
    next_ack: AtomicU64,
    /// Whether anybody looks at the events that are sent.
    pub(crate) is_observed: bool,
    /// For clients that come back, if the server wants that.
    pub(crate) recovery: Option<Box<Recovery>>,
    pub(crate) hooks: Arc<Hooks>,
    cluster: Option<Arc<Cluster>>,
}

/// What a namespace has said about its sockets as a whole.
#[derive(Default)]
pub(crate) struct Hooks {
    /// Writes the data of a socket as JSON, for all servers to know.
    pub(crate) share: Option<Share>,
    pub(crate) server_events: BTreeMap<Box<str>, ServerHandler>,
    pub(crate) room: Option<RoomHook>,
    pub(crate) metrics: NamespaceMetrics,
    pub(crate) warnings: Warnings,
}

/// Hears what happens to rooms.
pub(crate) type RoomHook = Box<dyn Fn(RoomEvent) + Send + Sync>;

/// Writes the data of a socket, if it is of the type that this is made for.
pub(crate) type Share = fn(&AnySocket) -> Option<Result<String, serde_json::Error>>;

/// How a broadcast travels.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) volatile: bool,
    pub(crate) local: bool,
    pub(crate) uncompressed: bool,
}

impl Flags {
    /// Marks a packet that is not to be compressed.
    pub(crate) fn mark(self, packet: Frames) -> Frames {
        if self.uncompressed { packet.uncompressed() } else { packet }
    }
}

impl Adapter {
    pub(crate) fn new(path: &str, config: Arc<ServerConfig>, cluster: Option<Arc<Cluster>>) -> Self {
        let max_buffered = config.engine.max_buffered;
        let recovery = config.connection_state_recovery.clone();
        Self {
            path: path.into(),
            slow_consumer: config.engine.slow_consumer,
            config,
            rooms: RwLock::default(),
            next_ack: AtomicU64::new(0),
            is_observed: false,
            recovery: recovery.map(|limits| Box::new(Recovery::new(limits, max_buffered))),
            hooks: Arc::default(),
            cluster,
        }
    }

    pub(crate) fn with_hooks(self, hooks: Arc<Hooks>) -> Self {
        self.rooms.write().events =
            hooks.room.is_some().then(|| RoomEvents::new(self.config.max_room_events));
        Self { hooks, ..self }
    }

    /// The path of the namespace.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What encodes the packets of the namespace.
    pub(crate) fn encoder(&self) -> Encoder<'_> {
        Encoder { namespace: &self.path, parser: self.config.parser.as_deref() }
    }

    /// The number of sockets on this server.
    pub(crate) fn len(&self) -> usize {
        self.rooms.read().len()
    }

    /// The number of sockets in a room on this server.
    pub(crate) fn count_in(&self, room: &str) -> usize {
        self.rooms.read().count_in(room)
    }

    /// The number of sockets of the target on this server.
    pub(crate) fn count(&self, target: &Target) -> usize {
        self.rooms.read().count(target)
    }

    /// The socket of an id on this server.
    pub(crate) fn socket(&self, id: &str) -> Option<AnySocket> {
        self.rooms.read().find(id).cloned()
    }

    /// Changes rooms, and tells of it when the lock is free again.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Rooms<AnySocket>, Option<&mut RecoveryState>) -> T,
    ) -> T {
        let result = match &self.recovery {
            Some(recovery) => recovery.with(|memory| change(&mut self.rooms.write(), Some(memory))),
            None => change(&mut self.rooms.write(), None),
        };
        if let Some(hook) = &self.hooks.room {
            self.tell(hook);
        }
        result
    }

    fn tell(&self, hook: &RoomHook) {
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

    /// An id for an acknowledgement, unique in the namespace as in Node.
    pub(crate) fn next_ack(&self) -> u64 {
        self.next_ack.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the other servers what to do, after it was done here.
    pub(crate) fn publish(&self, flags: Flags, op: impl FnOnce() -> Op) -> Result<(), ClusterFull> {
        match &self.cluster {
            Some(cluster) if !flags.local => cluster.publish(&self.path, op()),
            _ => Ok(()),
        }
    }

    /// Lets the other servers take part in a broadcast with acknowledgements, after the sockets of this one have it.
    pub(crate) fn ask_elsewhere(
        &self,
        pending: &mut PendingBroadcast,
        flags: Flags,
        op: impl FnOnce(u64) -> Op,
    ) {
        if let Some(cluster) = &self.cluster
            && !flags.local
        {
            pending.elsewhere = Some(cluster.ask(&self.path, &pending.outcomes, op));
        }
    }

    /// Asks the other servers for something.
    pub(crate) async fn gather(&self, flags: Flags, op: impl FnOnce(u64) -> Op) -> Gathered {
        match &self.cluster {
            Some(cluster) if !flags.local => cluster.gather(&self.path, op).await,
            _ => Gathered { answers: Vec::new(), missing: Vec::new() },
        }
    }

    /// Starts the handler of an event of another server, if there is one.
    pub(crate) fn server_event(self: &Arc<Self>, name: &str, raw: RawArgs<'_>) -> Option<ServerEventFuture> {
        let handler = self.hooks.server_events.get(name)?;
        Some(server_event::start(handler, self.clone(), raw))
    }

    /// Sends a packet to the sockets of the target on this server.
    ///
    /// Queueing happens under a lock, which gives all members of a room its broadcasts in one order. It is short:
    /// for each socket one more count on the shared frames, and at most one wake-up. An error says that nothing was
    /// queued.
    pub(crate) fn deliver(&self, target: &Target, packet: &Frames, flags: Flags) -> Result<(), EmitError> {
        let mut observed = Vec::new();
        let mut queue = |socket: &AnySocket, packet: &Frames| {
            // A socket whose queue is full is being disconnected and its handler told why, or the loss is counted.
            if send(socket, packet, flags, self.slow_consumer).is_ok() {
                self.note(&mut observed, socket);
            }
        };
        match &self.recovery {
            None => self.each(target, |_, socket| queue(socket, packet)),
            Some(recovery) => {
                let queued = recovery.send(self.encoder(), packet, flags, |stamped, position| {
                    self.each(target, |_, socket| match socket.recoverable() {
                        Some(recoverable) => {
                            queue(socket, stamped);
                            recoverable.note_sent(position, flags);
                        }
                        None => queue(socket, packet),
                    });
                    (Some(Recipients::Target(target.clone())), ())
                });
                queued.map_err(EmitError::Encode)?;
            }
        }
        self.notify(&observed, packet);
        Ok(())
    }

    /// Remembers a recipient for those who look at what is sent, if there are any.
    fn note(&self, observed: &mut Vec<AnySocket>, socket: &AnySocket) {
        if self.is_observed {
            observed.push(socket.clone());
        }
    }

    fn notify(&self, observed: &[AnySocket], packet: &Frames) {
        if self.is_observed {
            notify_sent(&self.path, packet, observed.iter().map(|socket| &**socket));
        }
    }

    /// As [`deliver`](Self::deliver), for a packet that all recipients are to acknowledge under one id.
    pub(crate) fn ask(&self, target: &Target, packet: &Frames, id: u64, flags: Flags) -> PendingBroadcast {
        let outcomes = Arc::new(AckCollector::default());
        let mut observed = Vec::new();
        let mut owe_too_many = false;
        self.each(target, |_, socket| {
            let at = outcomes.expect(socket);
            let waiter = AckWaiter::Broadcast(outcomes.clone(), at);
            let sent = socket.acks().insert(id, waiter, self.config.max_pending_acks).and_then(|()| {
                // It must not be dropped behind the back of those who wait for the answer.
                send(socket, packet, flags, SlowConsumerPolicy::Disconnect)
                    .inspect_err(|_| drop(socket.acks().remove(id)))
            });
            match sent {
                Ok(()) => self.note(&mut observed, socket),
                Err(error) => {
                    owe_too_many |= matches!(error, EmitError::TooManyAcks);
                    outcomes.resolve(at, Outcome::Failed(error));
                }
            }
        });
        if owe_too_many {
            self.hooks.warnings.limit_hit(&self.path, Limit::MaxPendingAcks);
        }
        self.notify(&observed, packet);
        PendingBroadcast { id, outcomes, elsewhere: None }
    }

    /// Adds the sockets of the target to rooms. One that is in too many does not join, and all others do.
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
                move_socket(rooms, memory.as_deref(), slot, join_all);
            }
        });
        // A log line is written by code of others, which must not run under the lock of the rooms.
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
                move_socket(rooms, memory.as_deref(), slot, leave_all);
            }
        });
    }

    /// Disconnects the sockets of the target.
    pub(crate) fn disconnect(&self, target: &Target, close: bool) {
        // Each takes the lock itself.
        let sockets = self.select(target, |_, socket, _| socket.clone());
        for socket in sockets {
            if close {
                socket.close();
            } else {
                socket.disconnect();
            }
        }
    }

    /// What is told of the sockets of the target.
    pub(crate) fn summaries(&self, target: &Target) -> Vec<Summary> {
        // Writing the data runs the user's `Serialize`, which must not happen under the lock.
        let found = self.select(target, |rooms, socket, slot| (socket.clone(), rooms.rooms_of(slot)));
        let summary = |(socket, rooms): (AnySocket, Vec<Room>)| Summary {
            id: Room::from(socket.id().as_str()),
            handshake: socket.handshake().clone(),
            rooms,
            data: self.hooks.share.and_then(|share| self.shared_data(share, &socket)),
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

    fn shared_data(&self, share: Share, socket: &AnySocket) -> Option<Box<str>> {
        let written = catch_unwind(AssertUnwindSafe(|| share(socket)));
        match written {
            Ok(Some(Ok(data))) => return Some(data.into()),
            Ok(Some(Err(error))) => {
                engineio::__log!(warn, namespace = &*self.path, %error, "the data of a socket cannot be shared");
            }
            Ok(None) => {}
            Err(_) => {
                engineio::__log!(error, namespace = &*self.path, "writing the data of a socket panicked")
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

/// Lets a socket join or leave rooms.
pub(crate) fn move_socket<T>(
    rooms: &mut Rooms<AnySocket>,
    memory: Option<&RecoveryState>,
    slot: Slot,
    change: impl FnOnce(&mut Rooms<AnySocket>) -> T,
) -> T {
    let before = rooms.joined(slot);
    let result = change(rooms);
    if let Some(memory) = memory
        && rooms.joined(slot) != before
        && let Some(recoverable) = rooms.socket(slot).and_then(|socket| socket.recoverable())
    {
        recoverable.note_moved(memory);
    }
    result
}

fn send(
    socket: &AnySocket,
    packet: &Frames,
    flags: Flags,
    slow_consumer: SlowConsumerPolicy,
) -> Result<(), EmitError> {
    let session = socket.session();
    if flags.volatile {
        return session.send_volatile(packet.as_slice()).then_some(()).ok_or(EmitError::Full);
    }
    Ok(session.send_with(packet.as_slice(), slow_consumer)?)
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("path", &self.path)
            .field("sockets", &self.len())
            .finish_non_exhaustive()
    }
}
