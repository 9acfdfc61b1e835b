//! Errors for rejected requests.

use std::{borrow::Cow, fmt};

use http::StatusCode;

/// The reason for rejecting a request. Codes and messages are the same as in the Node.js server. They are
/// sent as JSON with status 400, or 403 for code 4. A rejected WebSocket handshake receives the same response
/// and is not upgraded.
///
/// # Examples
///
/// ```
/// use engineio::RequestError;
///
/// assert_eq!(RequestError::UnknownSession.code(), 1);
/// assert_eq!(RequestError::UnknownSession.to_string(), "Session ID unknown");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The `transport` parameter is missing, unknown, or names a disabled transport.
    UnknownTransport,
    /// The `sid` parameter does not name a session on this server. The session may have ended or belong to
    /// another server.
    UnknownSession,
    /// The method of a handshake request is not GET.
    BadHandshakeMethod,
    /// A WebSocket handshake is invalid, missing where the transport requires one, or present where the
    /// transport does not allow one.
    BadRequest,
    /// The version of the WebSocket handshake is missing or not 13. The response names the supported version.
    WebSocketVersion,
    /// The transport of the request differs from the transport of its session, or the request is an upgrade
    /// that is not allowed.
    TransportMismatch,
    /// The protocol revision of the request differs from the revision of its session.
    ProtocolMismatch,
    /// The id returned by [`generate_id`](crate::EngineConfig::generate_id) belongs to another session.
    IdTaken,
    /// The origin of the page that sent the request is not allowed by [`Cors`](crate::Cors).
    OriginNotAllowed,
    /// The application's [`allow_request`](crate::EngineConfig::allow_request) hook rejected the request.
    Forbidden,
    /// The protocol revision of the client is not supported.
    UnsupportedProtocol,
}

impl RequestError {
    /// Returns the code in the JSON body.
    pub const fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest
            | Self::WebSocketVersion
            | Self::TransportMismatch
            | Self::ProtocolMismatch
            | Self::IdTaken => 3,
            Self::OriginNotAllowed | Self::Forbidden => 4,
            Self::UnsupportedProtocol => 5,
        }
    }

    /// Returns the status of the response.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::OriginNotAllowed | Self::Forbidden => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest
            | Self::WebSocketVersion
            | Self::TransportMismatch
            | Self::ProtocolMismatch
            | Self::IdTaken => "Bad request",
            Self::OriginNotAllowed => "Origin not allowed",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocol => "Unsupported protocol version",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for RequestError {}

/// The error that [`connection_error`](crate::EngineConfig::connection_error) receives for a rejected
/// request.
///
/// In place of the `context` object of Node.js, `error` distinguishes more reasons than the codes do, and the
/// hook receives the rejected request.
///
/// # Examples
///
/// ```
/// use engineio::{ConnectionError, RequestError};
///
/// let error = ConnectionError::from(RequestError::TransportMismatch);
/// assert_eq!((error.error.code(), &*error.message), (3, "Bad request"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionError {
    /// The reason for the rejection.
    pub error: RequestError,
    /// The message sent to the client. This is the message of `error`, or the message returned by the
    /// application.
    pub message: Cow<'static, str>,
}

impl ConnectionError {
    /// Creates the error for a request that the application rejects. An empty message selects the default
    /// message.
    pub(crate) fn forbidden(message: Cow<'static, str>) -> Self {
        let error = RequestError::Forbidden;
        if message.is_empty() { error.into() } else { Self { error, message } }
    }
}

impl From<RequestError> for ConnectionError {
    fn from(error: RequestError) -> Self {
        Self { error, message: error.message().into() }
    }
}
