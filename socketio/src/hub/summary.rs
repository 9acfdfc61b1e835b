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
}
