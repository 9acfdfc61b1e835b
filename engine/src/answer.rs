//! What the engine answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    compression::Agreed,
    proto::{
        dialect::{Dialect, Revision},
        payload_v3,
    },
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
pub(crate) const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// After how many seconds a client may ask again that was refused because there is too much to do.
pub(crate) const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");
/// After how many seconds a client may ask again that was refused because the server is closing.
const RETRY_LATER: HeaderValue = HeaderValue::from_static("5");
pub(crate) const HTML: HeaderValue = HeaderValue::from_static("text/html");

/// The answer to a poll.
pub(crate) fn packets(dialect: Dialect, body: Vec<u8>) -> Response<Full<Bytes>> {
    if let Some(jsonp) = dialect.jsonp {
        return answer(TEXT, jsonp.wrap(&body));
    }
    let is_binary = dialect.revision == Revision::V3 && payload_v3::is_binary(&body);
    answer(if is_binary { BINARY } else { TEXT }, body)
}

pub(crate) fn answer(content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
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
pub(crate) fn unavailable(retry_after: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = status(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    response
}

/// The answer to a client that is to find another server.
pub(crate) fn elsewhere() -> Response<Full<Bytes>> {
    let mut response = unavailable(RETRY_LATER);
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
    deflate: Option<Agreed>,
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
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate.header());
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
