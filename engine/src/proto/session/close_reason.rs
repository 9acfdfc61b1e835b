//! The reasons for which sessions are closed.

use std::fmt;

/// The reason for which a session was closed.
///
/// # Examples
///
/// ```
/// assert_eq!(engineio::CloseReason::PingTimeout.as_str(), "ping timeout");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed the session, or its connection was closed.
    TransportClose,
    /// The client violated the protocol of its transport, or its connection failed.
    TransportError,
    /// The client did not respond to a ping in time, or, in protocol 3, did not send a ping in time. The
    /// reason is the same if the application accepted no message of the client for
    /// [`read_pause_timeout`](crate::EngineConfig::read_pause_timeout).
    PingTimeout,
    /// The client sent data that is not an Engine.IO packet.
    ParseError,
    /// The application closed the session.
    ForcedClose,
    /// The application closed the session because the client violated the application's protocol. Node.js
    /// does not distinguish this reason from a [forced close](Self::ForcedClose).
    Violation,
    /// The server is shutting down. Clients reconnect, to another server if one is available.
    ServerShuttingDown,
    /// The client did not read its messages in time, or its queue was full.
    SlowConsumer,
    /// The session was [pending](crate::EngineConfig::max_pending_sessions) and was evicted to make
    /// room for a newer session.
    Evicted,
}

impl CloseReason {
    /// Returns the name of the reason in the Node.js server. Reasons that do not exist in Node.js have the
    /// name of a similar reason: `transport error` for a slow consumer, and `forced close` for a violation or
    /// an evicted session.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError | Self::SlowConsumer => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose | Self::Violation | Self::Evicted => "forced close",
            Self::ServerShuttingDown => "server shutting down",
        }
    }
}

impl CloseReason {
    /// All reasons, in the order of declaration.
    pub(crate) const ALL: [Self; Self::Evicted as usize + 1] = [
        Self::TransportClose,
        Self::TransportError,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::Violation,
        Self::ServerShuttingDown,
        Self::SlowConsumer,
        Self::Evicted,
    ];

    /// Returns `true` if the server closes the session of a client that is still connected and reading.
    pub(crate) const fn is_graceful(self) -> bool {
        matches!(self, Self::ForcedClose | Self::Violation | Self::ServerShuttingDown)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
