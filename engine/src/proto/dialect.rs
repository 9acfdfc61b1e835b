//! The dialect of a client, which the first request of its session determines.

use crate::proto::payload::jsonp::Jsonp;

/// A revision of the Engine.IO protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revision {
    /// The revision of the version 2 clients of Socket.IO:
    /// <https://github.com/socketio/engine.io-protocol/tree/v3>.
    V3,
    /// The current revision.
    V4,
}

impl Revision {
    /// Parses the `EIO` parameter. The first clients did not send it, so any value other than the current
    /// revision means revision 3, as in Node.
    pub(crate) fn from_query(eio: &str) -> Self {
        if eio == "4" { Self::V4 } else { Self::V3 }
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}

/// The encoding that a client uses for packets, from the query that opened its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) revision: Revision,
    /// `true` if the client cannot read binary data, so binary messages are sent as base64. Long-polling in
    /// revision 4 always uses base64. A WebSocket upgrade brings its own value.
    pub(crate) base64: bool,
    /// `Some` if responses to polls are scripts (JSONP).
    pub(crate) jsonp: Option<Jsonp>,
}

#[cfg(test)]
impl Dialect {
    /// The dialect of all current clients.
    pub(crate) const CURRENT: Self = Self { revision: Revision::V4, base64: false, jsonp: None };
}
