//! Room events, delivered to the room hook in the order in which they occur.

use std::collections::VecDeque;

use crate::hub::rooms::Room;

/// An event of a room of a namespace on this server, including the room of a socket's own id. Node: the
/// events of `namespace.adapter`.
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
    /// The first socket is about to join. Node: `create-room`.
    #[non_exhaustive]
    Created {
        /// The room.
        room: Room,
    },
    /// A socket has joined. Node: `join-room`.
    #[non_exhaustive]
    Joined {
        /// The room.
        room: Room,
        /// The id of the socket.
        id: String,
    },
    /// A socket has left. Node: `leave-room`.
    #[non_exhaustive]
    Left {
        /// The room.
        room: Room,
        /// The id of the socket.
        id: String,
    },
    /// The last socket has left. Node: `delete-room`.
    #[non_exhaustive]
    Deleted {
        /// The room.
        room: Room,
    },
    /// Events were dropped, because more than [`max_room_events`](field@crate::ServerConfig::max_room_events)
    /// were queued.
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
    /// `true` while a thread delivers the events.
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

    /// Takes the queued events; `None` if there are none, or if another thread delivers them. The delivering
    /// thread repeats the call with `begun` set until it returns `None`.
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
