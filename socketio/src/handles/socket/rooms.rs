//! The rooms of a socket.

use super::Socket;
use crate::{
    config::ServerConfig,
    event::error::JoinError,
    hub::{
        change_rooms_of,
        rooms::{Room, Rooms, Slot},
        socket_core::{AnySocket, Observed, SocketCore},
    },
    metrics::log::Limit,
};

impl<D> Socket<D> {
    /// Adds this socket to a room. Does nothing if the socket is already a member.
    ///
    /// A room exists while it has members. Any string is a valid name. If clients choose the names, note that
    /// the id of each socket is also the name of a room.
    ///
    /// # Errors
    ///
    /// Returns [`JoinError::Disconnected`] if the socket has left the namespace, [`JoinError::TooManyRooms`]
    /// if the socket has reached [`max_rooms`](crate::ServerConfig::max_rooms), and
    /// [`JoinError::NameTooLong`] if the name exceeds
    /// [`max_name_length`](crate::ServerConfig::max_name_length).
    pub fn join(&self, room: impl Into<Room>) -> Result<(), JoinError> {
        self.0.join(std::slice::from_ref(&room.into()))
    }

    /// Adds this socket to several rooms. Equivalent to `socket.join([...])` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`join`](Self::join). After [`JoinError::TooManyRooms`], the socket has
    /// joined the rooms before the room that exceeded the limit. After any other error, the socket has joined
    /// none of the rooms.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::Namespace;
    ///
    /// let chat = Namespace::new("/").on_connect(async |socket| socket.join_rooms(["lobby", "news"]));
    /// ```
    pub fn join_rooms(&self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), JoinError> {
        let rooms: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        self.0.join(&rooms)
    }

    /// Removes this socket from a room. Does nothing if the socket is not a member.
    pub fn leave(&self, room: &str) {
        self.0.change_rooms(|rooms, slot| rooms.leave(slot, room));
    }

    /// Removes this socket from several rooms.
    pub fn leave_rooms(&self, rooms: impl IntoIterator<Item: Into<Room>>) {
        let names: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        self.0.change_rooms(|rooms, slot| names.iter().for_each(|name| rooms.leave(slot, name)));
    }

    /// Removes this socket from all rooms except the room named after its id, which receives direct messages.
    /// Equivalent to `socket.leaveAll()` in Node.js, except that Node.js also removes the socket from the
    /// room named after its id.
    pub fn leave_all(&self) {
        self.0.change_rooms(Rooms::leave_all);
    }

    /// Returns the rooms of this socket, including the room named after its id. After the socket has left the
    /// namespace, returns the rooms that the socket was in when it left.
    pub fn rooms(&self) -> Vec<Room> {
        match (self.0.lifecycle.left(), self.0.lifecycle.slot()) {
            (Some(left), _) => left.rooms.clone(),
            (None, Some(slot)) => self.0.adapter.rooms_of(slot),
            (None, None) => Vec::new(),
        }
    }
}

impl<T: Observed + ?Sized> SocketCore<T> {
    /// Adds the socket to rooms until it has reached `max_rooms`.
    fn join(&self, names: &[Room]) -> Result<(), JoinError> {
        let ServerConfig { max_name_length, max_rooms, .. } = *self.adapter.config;
        if names.iter().any(|name| name.len() > max_name_length) {
            return Err(JoinError::NameTooLong);
        }
        let joined =
            self.change_rooms(|rooms, slot| names.iter().all(|name| rooms.join(slot, name, max_rooms)));
        if joined.ok_or(JoinError::Disconnected)? {
            return Ok(());
        }
        self.warnings().limit_hit(self.path(), Limit::MaxRooms);
        Err(JoinError::TooManyRooms)
    }

    /// Changes the rooms of the socket. Returns `None` if the socket is not in its namespace.
    fn change_rooms<R>(&self, change: impl FnOnce(&mut Rooms<AnySocket>, Slot) -> R) -> Option<R> {
        self.adapter.change(|rooms, memory| {
            let slot = self.lifecycle.joined_slot()?;
            Some(change_rooms_of(rooms, memory.as_deref(), slot, |rooms| change(rooms, slot)))
        })
    }
}
