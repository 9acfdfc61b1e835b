//! Why a socket left its namespace.

use std::fmt;

use engineio::CloseReason;

/// Why a socket left its namespace.
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
    /// The connection ended, with all its namespaces.
    Closed(CloseReason),
}

impl DisconnectReason {
    /// Whether the client may come back: it did not leave, and nobody has thrown it out.
    pub(crate) const fn is_recoverable(self) -> bool {
        match self {
            Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect => false,
            Self::Closed(reason) => !matches!(reason, CloseReason::ParseError),
        }
    }

    /// The reason in the words of the Node.js server.
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
