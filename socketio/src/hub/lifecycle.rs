//! The lifecycle of a socket in its namespace.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    event::reason::DisconnectReason,
    hub::rooms::{Room, Slot},
};

/// The state of a socket: *admitted*, then *joined*, *leaving* and *left*. A socket that is never joined skips to
/// *leaving*. States are never revisited.
///
/// Joining and the last step happen under the lock of the rooms, so a socket that has left is in no room and can join
/// none.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// Set when the socket joins.
    slot: OnceLock<Slot>,
    /// Set by the first caller that makes the socket leave.
    leaving: AtomicBool,
    /// Set when the socket has left.
    left: OnceLock<LeaveInfo>,
}

/// How a socket left its namespace.
#[derive(Debug)]
pub(crate) struct LeaveInfo {
    pub(crate) reason: DisconnectReason,
    /// The rooms that the socket was in.
    pub(crate) rooms: Vec<Room>,
}

impl Lifecycle {
    /// Enters *joined*, with the slot that `insert` returns. Returns the earlier slot if the socket has joined before.
    pub(crate) fn join(&self, insert: impl FnOnce() -> Slot) -> Slot {
        *self.slot.get_or_init(insert)
    }

    /// Enters *leaving*. Returns `false` if another caller already has.
    pub(crate) fn start_leaving(&self) -> bool {
        !self.leaving.swap(true, Ordering::AcqRel)
    }

    /// Enters *left*.
    pub(crate) fn leave(&self, info: LeaveInfo) -> bool {
        self.left.set(info).is_ok()
    }

    /// The slot among the rooms, once the socket has joined. It stays after the socket has left.
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.slot.get().copied()
    }

    /// The slot of a socket that has joined and has not left.
    pub(crate) fn joined_slot(&self) -> Option<Slot> {
        self.slot().filter(|_| self.left.get().is_none())
    }

    /// `Some` once the socket has left.
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
