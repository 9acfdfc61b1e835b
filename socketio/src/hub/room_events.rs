//! Queues room events and delivers them to the room hook in the order in which they occur.

use std::collections::VecDeque;

use crate::hub::rooms::Room;

/// An event of a room of a namespace on this server. Events of the room of a socket's own id are included.
/// Equivalent to the events of `namespace.adapter` in Node.js.
///
/// # Examples
///
/// ```
/// use socketio::{Namespace, RoomEvent};
///
/// let chat = Namespace::new("/chat").on_room(|event| match event {
///     RoomEvent::Created { room, .. } => println!("{room} is open"),
///     RoomEvent::Deleted { room, .. } => println!("{room} is empty"),
///     _ => {}
/// });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The first socket is about to join the room. Equivalent to `create-room` in Node.js.
    #[non_exhaustive]
    Created {
        /// The room.
        room: Room,
    },
    /// A socket has joined the room. Equivalent to `join-room` in Node.js.
    #[non_exhaustive]
    Joined {
        /// The room.
        room: Room,
        /// The id of the socket.
        id: String,
    },
    /// A socket has left the room. Equivalent to `leave-room` in Node.js.
    #[non_exhaustive]
    Left {
        /// The room.
        room: Room,
        /// The id of the socket.
        id: String,
    },
    /// The last socket has left the room. Equivalent to `delete-room` in Node.js.
    #[non_exhaustive]
    Deleted {
        /// The room.
        room: Room,
    },
    /// Events were dropped, because [`max_room_events`](crate::ServerConfig::max_room_events) events
    /// were already queued.
    #[non_exhaustive]
    Missed {
        /// The number of dropped events.
        count: u64,
    },
}

/// The queued events of a namespace with a room hook.
#[derive(Debug)]
pub(crate) struct RoomEvents {
    queue: VecDeque<RoomEvent>,
    max: usize,
    missed: u64,
    /// `true` while a thread delivers events to the hook.
    delivering: bool,
}

impl RoomEvents {
    pub(crate) fn new(max: usize) -> Self {
        Self { queue: VecDeque::new(), max, missed: 0, delivering: false }
    }

    pub(crate) fn push(&mut self, event: RoomEvent) {
        if self.queue.len() < self.max {
            self.queue.push_back(event);
        } else {
            self.missed += 1;
        }
    }

    /// Removes and returns the queued events. Returns `None` if no events are queued, or if another thread is
    /// delivering events. The delivering thread must repeat the call with `begun` set to `true` until the
    /// call returns `None`.
    pub(crate) fn take(&mut self, begun: bool) -> Option<VecDeque<RoomEvent>> {
        if self.delivering && !begun {
            return None;
        }
        if self.missed > 0 {
            self.queue.push_back(RoomEvent::Missed { count: std::mem::take(&mut self.missed) });
        }
        self.delivering = !self.queue.is_empty();
        self.delivering.then(|| std::mem::take(&mut self.queue))
    }
}
