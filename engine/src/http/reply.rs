//! The engine's responses.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{
    ConnectionError, Limit, RequestError, ResponseBody,
    proto::{
        budget::Charge,
        dialect::{Dialect, Revision},
        payload::v3,
    },
    transport::polling::PollResponse,
};

/// The maximum number of bytes of a client-supplied text that are logged.
pub(crate) const MAX_LOGGED_LEN: usize = 256;

/// The value of `Retry-After`, in seconds, sent when a limit is exceeded.
pub(crate) const RETRY_AFTER_OVERLOAD: HeaderValue = HeaderValue::from_static("1");
/// The value of `Retry-After`, in seconds, sent while the server shuts down.
const RETRY_AFTER_CLOSE: HeaderValue = HeaderValue::from_static("5");
/// The value of `Cache-Control` sent with each response to a poll or POST that has a body.
pub(crate) const NO_STORE: &str = "no-store";
/// The value of `X-Content-Type-Options` sent with scripts.
pub(crate) const NO_SNIFF: &str = "nosniff";

/// The content type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Text,
    Binary,
    Html,
    Json,
    /// The content type of the response to a JSONP poll. [`NO_SNIFF`] is sent with it, so that browsers do
    /// not guess another type.
    Script,
}

impl Content {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=UTF-8",
            Self::Binary => "application/octet-stream",
            Self::Html => "text/html",
            Self::Json => "application/json",
            Self::Script => "text/javascript; charset=UTF-8",
        }
    }
}

/// The response to a poll or a POST. Small enough to be written without conversion to a [`Response`].
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The content type, or `None` if there is no body.
    pub(crate) content: Option<Content>,
    pub(crate) body: Cow<'static, [u8]>,
    /// The charge of the body on the shared buffer budget.
    charge: Option<Charge>,
    /// The CORS headers.
    pub(crate) headers: Option<Box<HeaderMap>>,
}

impl Reply {
    /// Creates the response to a poll.
    pub(crate) fn packets(dialect: Dialect, PollResponse { body, charge }: PollResponse) -> Self {
        let reply = if let Some(jsonp) = dialect.jsonp {
            Self::new(Content::Script, jsonp.wrap(&body))
        } else {
            let is_binary = dialect.revision == Revision::V3 && v3::is_binary(&body);
            Self::new(if is_binary { Content::Binary } else { Content::Text }, body)
        };
        Self { charge, ..reply }
    }

    /// Creates the response to a POST. `taken` is `true` if the session accepted the packets.
    pub(crate) fn post_response(taken: bool) -> Self {
        if taken { Self::new(Content::Html, b"ok") } else { Self::refused(StatusCode::BAD_REQUEST) }
    }

    /// Creates the response to a POST that exceeded a limit of size or time. As in Node.js, a POST that is too
    /// large is rejected without a body. The tests of the official client check this, and the status says it all.
    pub(crate) fn limit_exceeded(limit: Limit) -> Self {
        if limit == Limit::MaxHttpBufferSize {
            return Self::refused(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let body = json_error_body(RequestError::BadRequest.code(), "Request timeout");
        Self { status: StatusCode::REQUEST_TIMEOUT, ..Self::new(Content::Json, body.into_bytes()) }
    }

    /// Creates a response without a body.
    pub(crate) fn refused(status: StatusCode) -> Self {
        Self { status, content: None, body: Cow::default(), charge: None, headers: None }
    }

    fn new(content: Content, body: impl Into<Cow<'static, [u8]>>) -> Self {
        Self {
            status: StatusCode::OK,
            content: Some(content),
            body: body.into(),
            charge: None,
            headers: None,
        }
    }
}

#[cfg(feature = "forwarding")]
impl Reply {
    const CONTENTS: [Content; 5] =
        [Content::Text, Content::Binary, Content::Html, Content::Json, Content::Script];

    /// Creates the response that another server has returned, with the number of its content type. Returns `None` if
    /// there is no such status or content type.
    pub(crate) fn forwarded(status: u16, content: u8, body: Vec<u8>, charge: Option<Charge>) -> Option<Self> {
        let status = StatusCode::from_u16(status).ok()?;
        let content = match content.checked_sub(1) {
            Some(number) => Some(*Self::CONTENTS.get(usize::from(number))?),
            None => None,
        };
        Some(Self { status, content, body: body.into(), charge, headers: None })
    }

    /// Returns the number of the content type.
    pub(crate) fn content_number(&self) -> u8 {
        let number = Self::CONTENTS.iter().position(|content| Some(*content) == self.content);
        number.map_or(0, |number| number as u8 + 1)
    }

    /// Creates the response to a request that the protocol does not allow.
    pub(crate) fn error(error: RequestError) -> Self {
        let body = json_error_body(error.code(), &error.to_string());
        Self { status: error.status(), ..Self::new(Content::Json, body.into_bytes()) }
    }
}

impl From<Reply> for Response<ResponseBody> {
    fn from(Reply { status: code, content, body, charge, headers }: Reply) -> Self {
        let mut response = status(code);
        if let Some(content) = content {
            *response.body_mut() = match (body, charge) {
                (Cow::Borrowed(body), _) => Bytes::from_static(body).into(),
                (Cow::Owned(body), None) => body.into(),
                (Cow::Owned(body), Some(charge)) => {
                    Bytes::from_owner(Charged { body, _charge: charge }).into()
                }
            };
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content.as_str()));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(NO_STORE));
            if content == Content::Script {
                headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static(NO_SNIFF));
            }
        }
        response.headers_mut().extend(headers.map(|headers| *headers).into_iter().flatten());
        response
    }
}

/// A body that is charged to the buffer budget until it has been written.
struct Charged {
    body: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

pub(crate) fn status(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = status;
    if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        // The request body is not read, so the connection cannot be reused.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Creates the response to a client that may retry later.
pub(crate) fn retry_later(code: StatusCode, retry_after: HeaderValue) -> Response<ResponseBody> {
    let mut response = status(code);
    response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    response
}

/// Creates the response to a client that pipelines too many handshakes.
pub(crate) fn too_many_handshakes() -> Response<ResponseBody> {
    let mut response = status(StatusCode::TOO_MANY_REQUESTS);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_OVERLOAD);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Creates the response to a client that should reconnect to another server.
pub(crate) fn shutting_down() -> Response<ResponseBody> {
    let mut response = retry_later(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER_CLOSE);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(crate) fn with_cookie(
    mut response: Response<ResponseBody>,
    cookie: Option<HeaderValue>,
) -> Response<ResponseBody> {
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Logs a rejected request and creates its response.
pub(crate) fn rejection(error: &ConnectionError) -> Response<ResponseBody> {
    let shown = error.message[..error.message.floor_char_boundary(MAX_LOGGED_LEN)].escape_debug();
    tracing::debug!(error = ?error.error, message = %shown, "request refused");
    let mut response = json_error(error.error.status(), error.error.code(), &error.message);
    if error.error == RequestError::WebSocketVersion {
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// Creates a response that contains the reason for a rejection as JSON.
pub(crate) fn json_error(status: StatusCode, code: u8, message: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(json_error_body(code, message)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Content::Json.as_str()));
    response
}

/// Returns the JSON body of a rejection.
pub(crate) fn json_error_body(code: u8, message: &str) -> String {
    // Serializing a string never fails.
    let message = serde_json::to_string(message).unwrap_or_default();
    format!(r#"{{"code":{code},"message":{message}}}"#)
}
