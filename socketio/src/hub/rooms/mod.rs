//! Stores the rooms of one namespace and their members in a data structure without I/O.

mod slots;

use std::{collections::HashMap, fmt, ops::Deref, sync::Arc};

use engineio::{__Shrink as Shrink, Sid};
use parking_lot::{Mutex, MutexGuard};

use self::slots::Slots;
use crate::hub::{
    room_events::{RoomEvent, RoomEvents},
    slab::Slab,
};

/// The name of a room. A `Room` is cheap to clone.
///
/// # Examples
///
/// ```
/// use socketio::Room;
///
/// let room = Room::from("lobby");
/// assert_eq!(room.len(), 5);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Room(Arc<str>);

impl Deref for Room {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Room {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for Room {
    fn from(name: T) -> Self {
        Self(name.as_ref().into())
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl serde::Serialize for Room {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// The index of a socket. Indices are dense, so a room is a list of small integers.
pub(crate) type Slot = u32;

/// The recipients of a broadcast. An empty `rooms` selects all sockets. Each socket receives the broadcast
/// once, even if the socket is in several of the rooms.
#[derive(Debug, Clone, Default)]
pub struct Target {
    pub(crate) rooms: Vec<Room>,
    pub(crate) except: Vec<Room>,
    pub(crate) except_socket: Option<Sid>,
}

impl Target {
    /// Returns `true` if the target contains a socket that is in these rooms.
    pub(crate) fn selects(&self, sid: Sid, rooms: &[Room]) -> bool {
        let is_in = |names: &[Room]| names.iter().any(|name| rooms.contains(name));
        self.except_socket != Some(sid)
            && (self.rooms.is_empty() || is_in(&self.rooms))
            && !is_in(&self.except)
    }
}

/// The sockets of a namespace and their rooms.
///
/// A membership uses 16 bytes: eight in the list of the room and eight in the list of the socket. Each of
/// both entries contains the index of its counterpart, so an entry is removed from both lists in constant
/// time. Including the spare capacity of the lists, a membership uses at most 32 bytes. The room of a
/// socket's own id is not stored.
#[derive(Debug)]
pub(crate) struct Rooms<S> {
    sockets: Slab<Entry<S>>,
    ids: HashMap<Sid, Slot>,
    members: Slab<Members>,
    names: HashMap<Room, u32>,
    /// The queued room events. `None` if the namespace has no room hook.
    pub(crate) events: Option<RoomEvents>,
    /// The rooms that got their first socket or lost their last one, for a broker that tracks rooms.
    changed: Option<Vec<Room>>,
    /// The sockets whose rooms have changed, if their sessions are saved.
    moved: Option<Vec<Sid>>,
}

#[derive(Debug)]
struct Entry<S> {
    socket: S,
    sid: Sid,
    /// `true` while the socket is in the room of its own id. A socket may leave this room.
    own_room: bool,
    joined: Vec<RoomEntry>,
}

/// An entry in the list of a socket, which refers to a room and to the index in the list of the room.
#[derive(Debug, Clone, Copy)]
struct RoomEntry {
    room: u32,
    at: u32,
}

/// An entry in the list of a room, which refers to a socket and to the index in the list of the socket.
#[derive(Debug, Clone, Copy)]
struct Member {
    slot: Slot,
    at: u32,
}

#[derive(Debug)]
struct Members {
    name: Room,
    list: Vec<Member>,
    /// Locked while a broadcast to the room is queued, so all members receive broadcasts in the same order.
    order: Mutex<()>,
}

impl<S> Default for Rooms<S> {
    fn default() -> Self {
        Self {
            sockets: Slab::default(),
            ids: HashMap::new(),
            members: Slab::default(),
            names: HashMap::new(),
            events: None,
            changed: None,
            moved: None,
        }
    }
}

impl<S> Rooms<S> {
    /// Returns the number of sockets.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Records from now on which rooms get their first socket or lose their last one.
    pub(crate) fn track_changes(&mut self) {
        self.changed = Some(Vec::new());
    }

    /// Makes [`take_moved`](Self::take_moved) return the sockets whose rooms have changed.
    pub(crate) fn track_moved(&mut self) {
        self.moved = Some(Vec::new());
    }

    /// Returns the sockets that were added, or whose rooms have changed, since the last call.
    pub(crate) fn take_moved(&mut self) -> Vec<Sid> {
        self.moved.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Records that the rooms of a socket have changed.
    pub(crate) fn note_moved(&mut self, slot: Slot) {
        if let (Some(moved), Some(entry)) = (&mut self.moved, self.sockets.get(slot)) {
            moved.push(entry.sid);
        }
    }

    /// Returns the rooms that were recorded since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Room> {
        self.changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note_changed(&mut self, room: impl FnOnce() -> Room) {
        if let Some(changed) = &mut self.changed {
            changed.push(room());
        }
    }

    /// Adds a socket, and joins the room of its own id.
    pub(crate) fn insert(&mut self, sid: Sid, socket: S) -> Slot {
        let slot = self.sockets.insert(Entry { socket, sid, own_room: true, joined: Vec::new() });
        if self.events.is_some() {
            self.note_joined(sid.as_str(), sid, !self.names.contains_key(sid.as_str()));
        }
        self.ids.insert(sid, slot);
        self.note_changed(|| sid.as_str().into());
        self.note_moved(slot);
        slot
    }

    /// Removes a socket and returns the rooms that the socket was in. The room of its own id comes first.
    pub(crate) fn remove(&mut self, slot: Slot) -> Vec<Room> {
        let rooms = self.rooms_of(slot);
        self.leave_joined(slot);
        if let Some(entry) = self.sockets.remove(slot) {
            self.ids.remove(&entry.sid);
            self.ids.shrink();
            self.note_changed(|| entry.sid.as_str().into());
            for room in &rooms {
                self.note_left(room, entry.sid);
            }
        }
        rooms
    }

    /// Adds a socket to a room. Returns `false` if the socket is already in `max` rooms, not counting the
    /// room of its own id.
    pub(crate) fn join(&mut self, slot: Slot, room: &Room, max: usize) -> bool {
        let Some(entry) = self.sockets.get_mut(slot) else { return true };
        let sid = entry.sid;
        if sid == **room {
            if !std::mem::replace(&mut entry.own_room, true) {
                self.note_changed(|| room.clone());
                self.note_joined(room, sid, !self.names.contains_key(room));
            }
            return true;
        }
        let joined = entry.joined.len();
        let known = self.names.get(room).copied();
        if known.is_some_and(|room| self.place(slot, room).is_some()) {
            return true;
        }
        if joined >= max {
            return false;
        }
        let index = known.unwrap_or_else(|| self.open_room(room));
        let (Some(entry), Some(members)) = (self.sockets.get_mut(slot), self.members.get_mut(index)) else {
            return true;
        };
        let members = &mut members.list;
        members.push(Member { slot, at: entry.joined.len() as u32 });
        if entry.joined.is_empty() {
            // Most sockets are in one or two rooms, but the default growth strategy would reserve space for
            // four.
            entry.joined.reserve_exact(2);
        }
        entry.joined.push(RoomEntry { room: index, at: members.len() as u32 - 1 });
        if self.events.is_some() {
            self.note_joined(room, sid, known.is_none() && self.own(room).is_none());
        }
        true
    }

    /// Removes a socket from a room.
    pub(crate) fn leave(&mut self, slot: Slot, room: &str) {
        let Some(entry) = self.sockets.get_mut(slot) else { return };
        let sid = entry.sid;
        if sid == *room {
            if std::mem::take(&mut entry.own_room) {
                self.note_changed(|| room.into());
                self.note_left(room, sid);
            }
        } else if let Some(&index) = self.names.get(room)
            && let Some(at) = self.place(slot, index)
        {
            self.leave_at(slot, at);
            self.note_left(room, sid);
        }
    }

    /// Removes a socket from all rooms except the room of its own id.
    pub(crate) fn leave_all(&mut self, slot: Slot) {
        let Some(entry) = self.sockets.get(slot) else { return };
        let sid = entry.sid;
        let rooms = if self.events.is_some() { self.rooms_of(slot) } else { Vec::new() };
        self.leave_joined(slot);
        for room in rooms.iter().filter(|room| sid != ***room) {
            self.note_left(room, sid);
        }
    }

    fn leave_joined(&mut self, slot: Slot) {
        while let Some(last) = self.sockets.get(slot).and_then(|entry| entry.joined.len().checked_sub(1)) {
            self.leave_at(slot, last);
        }
    }

    /// Returns the index of a room in the list of a socket, if the socket is in the room. Searches the
    /// shorter of the list of the room and the list of the socket, because either list may be long.
    fn place(&self, slot: Slot, room: u32) -> Option<usize> {
        let joined = &self.sockets.get(slot)?.joined;
        let members = &self.members.get(room)?.list;
        if members.len() < joined.len() {
            members.iter().find(|member| member.slot == slot).map(|member| member.at as usize)
        } else {
            joined.iter().position(|membership| membership.room == room)
        }
    }

    fn note_joined(&mut self, room: &str, sid: Sid, is_new: bool) {
        let Some(events) = &mut self.events else { return };
        let room = Room::from(room);
        if is_new {
            events.push(RoomEvent::Created { room: room.clone() });
        }
        events.push(RoomEvent::Joined { room, id: sid.as_str().to_owned() });
    }

    fn note_left(&mut self, room: &str, sid: Sid) {
        if self.events.is_none() {
            return;
        }
        let is_empty = !self.names.contains_key(room) && self.own(room).is_none();
        let Some(events) = &mut self.events else { return };
        let room = Room::from(room);
        events.push(RoomEvent::Left { room: room.clone(), id: sid.as_str().to_owned() });
        if is_empty {
            events.push(RoomEvent::Deleted { room });
        }
    }

    /// Returns the number of rooms of a socket, including the room of its own id.
    pub(crate) fn joined(&self, slot: Slot) -> usize {
        self.sockets.get(slot).map_or(0, |entry| entry.joined.len() + usize::from(entry.own_room))
    }

    /// Returns the rooms of a socket. The room of its own id comes first.
    pub(crate) fn rooms_of(&self, slot: Slot) -> Vec<Room> {
        self.first_rooms(slot, usize::MAX)
    }

    /// Returns up to `max` rooms of a socket.
    pub(crate) fn first_rooms(&self, slot: Slot, max: usize) -> Vec<Room> {
        let Some(entry) = self.sockets.get(slot) else { return Vec::new() };
        let own = entry.own_room.then(|| Room::from(entry.sid.as_str()));
        let joined = entry.joined.iter().filter_map(|membership| self.members.get(membership.room));
        let joined = joined.map(|members| members.name.clone());
        own.into_iter().chain(joined).take(max).collect()
    }

    /// Returns the slots of the sockets of a target.
    pub(crate) fn select(&self, target: &Target) -> Vec<Slot> {
        let mut slots = Vec::new();
        self.each(target, |slot, _| slots.push(slot));
        slots
    }

    /// Returns the socket with an id.
    pub(crate) fn find(&self, id: &str) -> Option<&S> {
        self.socket(*self.ids.get(&Sid::parse(id)?)?)
    }

    /// Returns the rooms of the socket with an id.
    pub(crate) fn find_rooms(&self, sid: Sid) -> Option<Vec<Room>> {
        Some(self.rooms_of(*self.ids.get(&sid)?))
    }

    /// Returns all sockets, by slot.
    pub(crate) fn all(&self) -> impl Iterator<Item = &S> {
        (0..self.sockets.end()).filter_map(|slot| self.socket(slot))
    }

    /// Returns the ids of the sockets whose slot has this remainder.
    pub(crate) fn ids_at(&self, remainder: u32, divisor: u32) -> Vec<Sid> {
        let slots = (remainder..self.sockets.end()).step_by(divisor as usize);
        slots.filter_map(|slot| self.sockets.get(slot)).map(|entry| entry.sid).collect()
    }

    /// Returns the number of sockets in a room.
    pub(crate) fn count_in(&self, room: &str) -> usize {
        // A socket is never in the list of the room of its own id.
        self.room(room).map_or(0, |members| members.list.len()) + usize::from(self.own(room).is_some())
    }

    /// Returns the number of sockets of a target. Takes constant time for a single room and for all sockets.
    pub(crate) fn count(&self, target: &Target) -> usize {
        match (&*target.rooms, &*target.except, target.except_socket) {
            ([], [], None) => self.len(),
            ([room], [], None) => self.count_in(room),
            _ => {
                let mut count = 0;
                self.each(target, |_, _| count += 1);
                count
            }
        }
    }

    /// Returns the socket at a slot.
    pub(crate) fn socket(&self, slot: Slot) -> Option<&S> {
        self.sockets.get(slot).map(|entry| &entry.socket)
    }

    /// Calls `f` for each socket of the target. No other broadcast to a room of the target can interleave.
    ///
    /// If [`needs_exclusive`](Self::needs_exclusive) returns `true` for the target, the caller must hold the
    /// lock of the rooms exclusively. Otherwise, a shared lock is sufficient.
    pub(crate) fn each(&self, target: &Target, mut f: impl FnMut(Slot, &S)) {
        let except = self.excluded(target);
        let except_socket = target.except_socket.and_then(|sid| self.ids.get(&sid).copied());
        let mut visit = |slot: Slot| {
            if Some(slot) != except_socket
                && !except.contains(slot)
                && let Some(entry) = self.sockets.get(slot)
            {
                f(slot, &entry.socket);
            }
        };
        match &*target.rooms {
            [] => (0..self.sockets.end()).for_each(visit),
            [room] => {
                let own = self.own(room);
                let members = self.room(room);
                let _order = members.map(|members| members.order.lock());
                own.into_iter().for_each(&mut visit);
                members.iter().flat_map(|members| &members.list).for_each(|member| {
                    if Some(member.slot) != own {
                        visit(member.slot);
                    }
                });
            }
            rooms => {
                let _order = self.lock_all(rooms);
                let mut seen = Slots::new(self.sockets.end());
                for slot in rooms.iter().flat_map(|room| self.slots(room)) {
                    if seen.insert(slot) {
                        visit(slot);
                    }
                }
            }
        }
    }

    /// Returns `true` if a broadcast must exclude all other broadcasts because it is sent to the members of
    /// every room.
    pub(crate) fn needs_exclusive(target: &Target) -> bool {
        target.rooms.is_empty()
    }

    /// Returns the socket with the id `room`, if the socket is in the room of its own id.
    fn own(&self, room: &str) -> Option<Slot> {
        let slot = *self.ids.get(&Sid::parse(room)?)?;
        self.sockets.get(slot)?.own_room.then_some(slot)
    }

    fn room(&self, room: &str) -> Option<&Members> {
        self.members.get(*self.names.get(room)?)
    }

    fn slots(&self, room: &Room) -> impl Iterator<Item = Slot> {
        let members = self.room(room).map(|members| members.list.iter().map(|member| member.slot));
        self.own(room).into_iter().chain(members.into_iter().flatten())
    }

    /// Locks several rooms. The rooms are always locked in the same order to prevent deadlocks.
    fn lock_all(&self, rooms: &[Room]) -> Vec<MutexGuard<'_, ()>> {
        let mut indices: Vec<u32> = rooms.iter().filter_map(|room| self.names.get(room).copied()).collect();
        indices.sort_unstable();
        indices.dedup();
        indices.into_iter().filter_map(|index| Some(self.members.get(index)?.order.lock())).collect()
    }

    fn excluded(&self, target: &Target) -> Slots {
        if target.except.is_empty() {
            return Slots::default();
        }
        let mut slots = Slots::new(self.sockets.end());
        for slot in target.except.iter().flat_map(|room| self.slots(room)) {
            slots.insert(slot);
        }
        slots
    }

    fn open_room(&mut self, name: &Room) -> u32 {
        let members = Members { name: name.clone(), list: Vec::new(), order: Mutex::new(()) };
        let index = self.members.insert(members);
        self.names.insert(name.clone(), index);
        self.note_changed(|| name.clone());
        index
    }

    /// Removes the membership at index `at` of the list of a socket. The last entry of each list is moved to
    /// the index of the removed entry.
    fn leave_at(&mut self, slot: Slot, at: usize) {
        let Some(entry) = self.sockets.get_mut(slot) else { return };
        let membership = entry.joined.swap_remove(at);
        entry.joined.shrink();
        if let Some(moved) = entry.joined.get(at)
            && let Some(room) = self.members.get_mut(moved.room)
        {
            room.list[moved.at as usize].at = at as u32;
        }
        let Some(room) = self.members.get_mut(membership.room) else { return };
        room.list.swap_remove(membership.at as usize);
        if let Some(moved) = room.list.get(membership.at as usize)
            && let Some(entry) = self.sockets.get_mut(moved.slot)
        {
            entry.joined[moved.at as usize].at = membership.at;
        }
        room.list.shrink();
        if room.list.is_empty() {
            self.names.remove(&room.name);
            self.names.shrink();
            let removed = self.members.remove(membership.room);
            if let (Some(changed), Some(removed)) = (&mut self.changed, removed) {
                changed.push(removed.name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
