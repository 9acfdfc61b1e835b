//! Defines the lifecycle of a socket in its namespace.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    event::reason::DisconnectReason,
    hub::rooms::{Room, Slot},
};

/// The lifecycle state of a socket. The states are *admitted*, *joined*, *leaving* and *left*, in this order.
/// A socket that never joins goes from *admitted* to *leaving*. No state is entered twice.
///
/// *Joined* and *left* are entered under the lock of the rooms, so a socket in state *left* is in no room and
/// cannot join a room.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// Set when the socket enters *joined*.
    slot: OnceLock<Slot>,
    /// Set when the socket enters *leaving*.
    leaving: AtomicBool,
    /// Set when the socket enters *left*.
    left: OnceLock<LeaveInfo>,
}

/// Describes how a socket left its namespace.
#[derive(Debug)]
pub(crate) struct LeaveInfo {
    pub(crate) reason: DisconnectReason,
    /// The rooms that the socket was in when it left.
    pub(crate) rooms: Vec<Room>,
}

impl Lifecycle {
    /// Enters *joined* with the slot that `insert` returns. If the socket has already joined, returns the
    /// existing slot without calling `insert`.
    pub(crate) fn join(&self, insert: impl FnOnce() -> Slot) -> Slot {
        *self.slot.get_or_init(insert)
    }

    /// Enters *leaving*. Returns `false` if the socket was already in this state.
    pub(crate) fn start_leaving(&self) -> bool {
        !self.leaving.swap(true, Ordering::AcqRel)
    }

    /// Enters *left*. Returns `false` if the socket was already in this state.
    pub(crate) fn leave(&self, info: LeaveInfo) -> bool {
        self.left.set(info).is_ok()
    }

    /// Returns the slot of the socket, or `None` if the socket has not joined. The slot is kept after the
    /// socket has left.
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.slot.get().copied()
    }

    /// Returns the slot of the socket if it has joined and has not left.
    pub(crate) fn joined_slot(&self) -> Option<Slot> {
        self.slot().filter(|_| self.left.get().is_none())
    }

    /// Returns the reason and the rooms of a socket that has left, or `None` if the socket has not left.
    pub(crate) fn left(&self) -> Option<&LeaveInfo> {
        self.left.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> LeaveInfo {
        LeaveInfo { reason: DisconnectReason::ClientNamespaceDisconnect, rooms: Vec::new() }
    }

    #[test]
    fn each_state_is_entered_once() {
        let lifecycle = Lifecycle::default();
        assert_eq!((lifecycle.slot(), lifecycle.joined_slot()), (None, None));
        assert_eq!((lifecycle.join(|| 3), lifecycle.join(|| 4)), (3, 3));
        assert_eq!(lifecycle.joined_slot(), Some(3));
        assert!(lifecycle.start_leaving() && !lifecycle.start_leaving());
        assert_eq!(lifecycle.joined_slot(), Some(3));
        assert!(lifecycle.leave(info()) && !lifecycle.leave(info()));
        assert_eq!((lifecycle.slot(), lifecycle.joined_slot()), (Some(3), None));
        assert!(lifecycle.left().is_some());
    }
}
