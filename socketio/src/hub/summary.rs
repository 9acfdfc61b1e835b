//! The description of a socket that other servers get.

use crate::{event::handshake::Handshake, hub::rooms::Room};

/// What is told of a socket when it is asked for. It does not change afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) id: Room,
    pub(crate) handshake: Handshake,
    pub(crate) rooms: Vec<Room>,
    /// The text of its data, if the namespace shares it.
    pub(crate) data: Option<Box<str>>,
}
