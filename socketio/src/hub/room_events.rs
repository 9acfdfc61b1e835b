//! What happens to rooms, told in the order in which it happens.

use std::collections::VecDeque;

use crate::hub::rooms::Room;

/// What happened to a room of a namespace on this server. The room of a socket's own id is one too. Node: the events
/// of `namespace.adapter`.
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
    /// Events are lost, because more than [`max_room_events`](field@crate::ServerConfig::max_room_events) waited.
    #[non_exhaustive]
    Missed {
        /// How many.
        count: u64,
    },
}

/// Events that wait to be told, for a namespace that wants to hear of them.
#[derive(Debug)]
pub(crate) struct RoomEvents {
    waiting: VecDeque<RoomEvent>,
    max: usize,
    missed: u64,
    /// Somebody tells them, one after the other.
    telling: bool,
}

impl RoomEvents {
    pub(crate) fn new(max: usize) -> Self {
        Self { waiting: VecDeque::new(), max, missed: 0, telling: false }
    }

    pub(crate) fn push(&mut self, event: RoomEvent) {
        if self.waiting.len() < self.max {
            self.waiting.push_back(event);
        } else {
            self.missed += 1;
        }
    }

    /// What is to be told next, if nobody else does it. Who begins goes on until there is nothing.
    pub(crate) fn take(&mut self, begun: bool) -> Option<VecDeque<RoomEvent>> {
        if self.telling && !begun {
            return None;
        }
        if self.missed > 0 {
            self.waiting.push_back(RoomEvent::Missed { count: std::mem::take(&mut self.missed) });
        }
        self.telling = !self.waiting.is_empty();
        self.telling.then(|| std::mem::take(&mut self.waiting))
    }
}
