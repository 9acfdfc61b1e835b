//! The description of a socket for other servers.

use crate::{event::handshake::Handshake, hub::rooms::Room};

/// A snapshot of a socket.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) id: Room,
    pub(crate) handshake: Handshake,
    pub(crate) rooms: Vec<Room>,
    /// The data as JSON, if the namespace shares it.
    pub(crate) data: Option<Box<str>>,
}
