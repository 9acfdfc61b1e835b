//! Requests that the server refuses.

use std::{borrow::Cow, fmt};

use http::StatusCode;

/// Why a request was refused: the codes and messages of the Node.js server, sent as status 400, or 403 for code 4,
/// with a JSON body, on every transport and before any upgrade.
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
    /// The `transport` parameter is missing, unknown, or names a transport that is switched off.
    UnknownTransport,
    /// The `sid` parameter names no session: it has ended, or lives on another server.
    UnknownSession,
    /// A session was asked for by another method than GET.
    BadHandshakeMethod,
    /// The request is no valid WebSocket handshake where one is needed, or is one where none is.
    BadRequest,
    /// The WebSocket handshake is of another version than 13, which the answer names.
    WebSocketVersion,
    /// The request is of another transport than its session, or asks for an upgrade that is not allowed.
    TransportMismatch,
    /// The request is of another revision of the protocol than its session.
    ProtocolMismatch,
    /// The id that [`generate_id`](crate::EngineConfig::generate_id) gave belongs to another session.
    IdTaken,
    /// The page that makes the request is of an origin that may not: see [`Cors`](crate::Cors).
    OriginNotAllowed,
    /// The application refused, by [`allow_request`](crate::EngineConfig::allow_request).
    Forbidden,
    /// The client speaks another revision of the protocol.
    UnsupportedProtocol,
}

impl RequestError {
    /// The code in the JSON body.
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

    /// The status of the response.
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

/// A refused request, as [`connection_error`](crate::EngineConfig::connection_error) is told of it.
///
/// Node's `context` is in `error`, whose variants are finer than the codes, and in the request beside it.
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
    /// What is wrong with the request.
    pub error: RequestError,
    /// What the client is told: the text of the error, or what the application said.
    pub message: Cow<'static, str>,
}

impl ConnectionError {
    /// The refusal by the application.
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
