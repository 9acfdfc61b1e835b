//! Reasons for which sockets leave their namespaces.

use std::fmt;

use engineio::CloseReason;

/// The reason for which a socket left its namespace.
///
/// # Examples
///
/// ```
/// use socketio::DisconnectReason;
///
/// assert_eq!(DisconnectReason::ClientNamespaceDisconnect.as_str(), "client namespace disconnect");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server disconnected the socket.
    ServerNamespaceDisconnect,
    /// The connection closed, which disconnected the sockets in all namespaces of the client.
    Closed(CloseReason),
}

impl DisconnectReason {
    /// Returns `true` if the socket can be recovered. A socket can be recovered if neither side disconnected
    /// it and the client did not violate the protocol.
    pub(crate) const fn is_recoverable(self) -> bool {
        match self {
            Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect => false,
            Self::Closed(reason) => !matches!(reason, CloseReason::ParseError),
        }
    }

    /// Returns the reason in the spelling of the Node.js server.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::Closed(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
