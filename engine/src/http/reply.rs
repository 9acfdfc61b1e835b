//! What the engine answers.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    ConnectionError, Limit, RequestError,
    http::extension,
    proto::{
        budget::Charge,
        deflate::Negotiated,
        dialect::{Dialect, Revision},
        payload::v3,
    },
    transport::polling::Packets,
};

/// The bytes of a text from outside that are logged.
pub(crate) const LOGGED: usize = 256;

/// After how many seconds a client may ask again that was refused because there is too much to do.
pub(crate) const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");
/// After how many seconds a client may ask again that was refused because the server is closing.
const RETRY_LATER: HeaderValue = HeaderValue::from_static("5");
/// `Cache-Control` of all that a session sends.
pub(crate) const NO_STORE: &str = "no-store";
/// `X-Content-Type-Options` of scripts.
pub(crate) const NO_SNIFF: &str = "nosniff";

/// The type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Text,
    Binary,
    Html,
    Json,
    /// The answer to a poll as a script. Nobody may take anything else for one: [`NO_SNIFF`] comes with it.
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

/// What a poll or a POST gets: so little that it need not become a [`Response`] to be written.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The type of the body, if there is one.
    pub(crate) content: Option<Content>,
    pub(crate) body: Cow<'static, [u8]>,
    /// The place of the body in the budget of the server.
    charge: Option<Charge>,
    /// What CORS adds.
    pub(crate) headers: Option<Box<HeaderMap>>,
}

impl Reply {
    /// Of a poll.
    pub(crate) fn packets(dialect: Dialect, Packets { body, charge }: Packets) -> Self {
        let reply = if let Some(jsonp) = dialect.jsonp {
            Self::new(Content::Script, jsonp.wrap(&body))
        } else {
            let is_binary = dialect.revision == Revision::V3 && v3::is_binary(&body);
            Self::new(if is_binary { Content::Binary } else { Content::Text }, body)
        };
        Self { charge, ..reply }
    }

    /// Of a POST.
    pub(crate) fn posted(taken: bool) -> Self {
        if taken { Self::new(Content::Html, b"ok") } else { Self::refused(StatusCode::BAD_REQUEST) }
    }

    /// Of a POST that went beyond a limit: on its size, or on its time.
    pub(crate) fn beyond(limit: Limit) -> Self {
        let (status, message) = match limit {
            Limit::MaxHttpBufferSize => (StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"),
            _ => (StatusCode::REQUEST_TIMEOUT, "Request timeout"),
        };
        let body = refusal_body(RequestError::BadRequest.code(), message);
        Self { status, ..Self::new(Content::Json, body.into_bytes()) }
    }

    /// Of either.
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

impl From<Reply> for Response<Full<Bytes>> {
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

/// A body that is counted until it has been written.
struct Charged {
    body: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

pub(crate) fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        // The body stays unread, so the connection cannot be used again.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to a client that may try again later.
pub(crate) fn try_again(code: StatusCode, retry_after: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = status(code);
    response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    response
}

/// The answer to a client that asks for sessions without a look at the answers.
pub(crate) fn too_many() -> Response<Full<Bytes>> {
    let mut response = status(StatusCode::TOO_MANY_REQUESTS);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_SOON);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The answer to a client that is to find another server.
pub(crate) fn elsewhere() -> Response<Full<Bytes>> {
    let mut response = try_again(StatusCode::SERVICE_UNAVAILABLE, RETRY_LATER);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(crate) fn with_cookie(
    mut response: Response<Full<Bytes>>,
    cookie: Option<HeaderValue>,
) -> Response<Full<Bytes>> {
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

pub(crate) fn switching_protocols(
    key: &HeaderValue,
    request: &HeaderMap,
    deflate: Option<Negotiated>,
) -> Response<Full<Bytes>> {
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = subprotocol(request) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Some(deflate) = deflate {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, extension::response_header(deflate));
    }
    response
}

/// The first of the subprotocols that a client offers. They mean nothing to us, as to Node, but a browser fails a
/// handshake that takes none of them.
fn subprotocol(request: &HeaderMap) -> Option<HeaderValue> {
    let offered = request.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').next()?.trim();
    if first.is_empty() { None } else { HeaderValue::from_str(first).ok() }
}

/// The response to a refused request.
pub(crate) fn refused(error: &ConnectionError) -> Response<Full<Bytes>> {
    let shown = error.message[..error.message.floor_char_boundary(LOGGED)].escape_debug();
    tracing::debug!(error = ?error.error, message = %shown, "request refused");
    let mut response = refusal(error.error.status(), error.error.code(), &error.message);
    if error.error == RequestError::WebSocketVersion {
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// An answer that says in JSON why a request is refused.
pub(crate) fn refusal(status: StatusCode, code: u8, message: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(refusal_body(code, message)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Content::Json.as_str()));
    response
}

/// The JSON of a refusal.
pub(crate) fn refusal_body(code: u8, message: &str) -> String {
    // Strings always serialize.
    let message = serde_json::to_string(message).unwrap_or_default();
    format!(r#"{{"code":{code},"message":{message}}}"#)
}
