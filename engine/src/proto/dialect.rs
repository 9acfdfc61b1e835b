//! How a client writes its packets and wants to read them: decided by the first request of its session.

use crate::proto::payload::jsonp::Jsonp;

/// A revision of the Engine.IO protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revision {
    /// That of the version 2 clients of Socket.IO: <https://github.com/socketio/engine.io-protocol/tree/v3>.
    V3,
    /// The current one.
    V4,
}

impl Revision {
    /// The revision that a query asks for. The first clients did not name theirs, so whatever is not the current
    /// one counts as the old one, as in Node.
    pub(crate) fn of_query(eio: &str) -> Self {
        if eio == "4" { Self::V4 } else { Self::V3 }
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}

/// What a session keeps of the query that opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) revision: Revision,
    /// Whether the client reads no bytes, so that binary messages go out as base64. Over long-polling, they always
    /// do in revision 4. A WebSocket that takes a session over speaks for itself here.
    pub(crate) base64: bool,
    /// Whether, and how, answers to polls are scripts.
    pub(crate) jsonp: Option<Jsonp>,
}

#[cfg(test)]
impl Dialect {
    /// That of all current clients.
    pub(crate) const CURRENT: Self = Self { revision: Revision::V4, base64: false, jsonp: None };
}
