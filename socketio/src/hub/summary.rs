//! Defines the snapshot of a socket that is sent to other servers.

use crate::{event::handshake::Handshake, hub::rooms::Room};

/// A snapshot of the state of a socket, which servers send to each other.
#[derive(Debug, Clone)]
pub struct Summary {
    pub(crate) id: Room,
    pub(crate) handshake: Handshake,
    pub(crate) rooms: Vec<Room>,
    /// The data as JSON. `None` if the namespace does not share its data, or if the data cannot be
    /// serialized.
    pub(crate) data: Option<Box<str>>,
    /// The data for the Admin UI as JSON, which Node.js keeps in the entry `_admin` of the data. `None` if the
    /// server of the socket has no Admin UI.
    pub(crate) admin_data: Option<Box<str>>,
}

impl Summary {
    /// Returns the approximate number of bytes of the encoding.
    pub(crate) fn payload_len(&self) -> usize {
        let handshake = &self.handshake;
        let headers: usize = handshake.headers().map(|(name, value)| name.len() + value.len()).sum();
        let data: usize = [&self.data, &self.admin_data].into_iter().flatten().map(|data| data.len()).sum();
        let rooms: usize = self.rooms.iter().map(|room| room.len() + 3).sum();
        512 + headers + handshake.url().len() + handshake.auth_json().map_or(0, str::len) + data + rooms
    }

    /// Returns the id of the socket.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the rooms of the socket.
    pub fn rooms(&self) -> &[Room] {
        &self.rooms
    }
}
