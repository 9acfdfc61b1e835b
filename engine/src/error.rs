//! Errors for rejected requests.

use std::{borrow::Cow, fmt};

use http::StatusCode;

/// The reason for rejecting a request. Codes and messages are those of the Node.js server. They are sent as
/// JSON with status 400, or 403 for code 4, on every transport and before any upgrade.
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
    /// The `sid` parameter names no session on this server: the session has ended or lives on another server.
    UnknownSession,
    /// The method of a handshake request is not GET.
    BadHandshakeMethod,
    /// A WebSocket handshake is missing or invalid where one is required, or present where none is.
    BadRequest,
    /// The version of the WebSocket handshake is not 13. The response names the supported version.
    WebSocketVersion,
    /// The transport of the request differs from that of its session, or the request is an upgrade that is
    /// not allowed.
    TransportMismatch,
    /// The protocol revision of the request differs from that of its session.
    ProtocolMismatch,
    /// The id returned by [`generate_id`](crate::EngineConfig::generate_id) belongs to another session.
    IdTaken,
    /// The origin of the page that makes the request is not allowed: see [`Cors`](crate::Cors).
    OriginNotAllowed,
    /// Rejected by the application's [`allow_request`](crate::EngineConfig::allow_request).
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
/// Node's `context` corresponds to `error`, whose variants are finer than the codes, and to the request that
/// the hook receives with it.
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
    /// The message sent to the client: that of `error`, or the one returned by the application.
    pub message: Cow<'static, str>,
}

impl ConnectionError {
    /// Creates the error for a request that the application rejects. An empty message means the default one.
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
