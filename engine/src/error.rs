//! Requests that the server refuses.

use std::fmt;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;

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
    /// The request does not fit its session: another transport or protocol revision, or an upgrade that is not
    /// allowed; or it is no valid WebSocket handshake.
    BadRequest,
    /// The page that makes the request is of an origin that may not: see [`Cors`](crate::Cors).
    OriginNotAllowed,
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
            Self::BadRequest => 3,
            Self::OriginNotAllowed => 4,
            Self::UnsupportedProtocol => 5,
        }
    }

    /// The status of the response.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::OriginNotAllowed => "Origin not allowed",
            Self::UnsupportedProtocol => "Unsupported protocol version",
        }
    }

    pub(crate) fn response(self) -> Response<Full<Bytes>> {
        tracing::debug!(code = self.code(), message = self.message(), "request refused");
        let body = format!(r#"{{"code":{},"message":"{}"}}"#, self.code(), self.message());
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        response
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for RequestError {}
