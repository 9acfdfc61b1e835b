//! The protocol dialect of a client, which is determined by the first request of its session.

use crate::proto::payload::jsonp::Jsonp;

/// A revision of the Engine.IO protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revision {
    /// Revision 3, used by Socket.IO clients of version 2. See
    /// <https://github.com/socketio/engine.io-protocol/tree/v3>.
    V3,
    /// Revision 4, the current revision.
    V4,
}

impl Revision {
    /// Parses the `EIO` parameter. The first clients did not send the parameter. As in Node.js, any value
    /// other than the current revision selects revision 3.
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

/// The packet encoding of a client, selected by the query string of the request that opened the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) revision: Revision,
    /// `true` if the client cannot read binary data. Binary messages are then sent as base64. Long-polling in
    /// revision 4 uses base64 regardless of this field. The WebSocket request of an upgrade has its own
    /// value.
    pub(crate) base64: bool,
    /// `Some` if responses to polls are scripts (JSONP).
    pub(crate) jsonp: Option<Jsonp>,
}

#[cfg(test)]
impl Dialect {
    /// The dialect of all current clients.
    pub(crate) const CURRENT: Self = Self { revision: Revision::V4, base64: false, jsonp: None };
}
