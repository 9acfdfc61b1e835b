//! The WebSocket handshake (RFC 6455, section 4.2), and its form in HTTP/2 (RFC 8441).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    RequestError, ResponseBody,
    http::{permessage_deflate, reply::status, view::RequestHead},
    proto::deflate::Negotiated,
};

/// The key of a WebSocket handshake: 16 bytes in base64. `None` in HTTP/2, where no key is needed, because no
/// HTTP/1 server can misunderstand the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WebSocketKey(Option<[u8; 24]>);

impl WebSocketKey {
    fn parse(value: &[u8]) -> Option<Self> {
        let mut nonce = [0; 18];
        let is_nonce = BASE64_STANDARD.decode_slice(value, &mut nonce).is_ok_and(|len| len == 16);
        value.try_into().ok().filter(|_| is_nonce).map(|key| Self(Some(key)))
    }
}

#[cfg(feature = "forwarding")]
impl WebSocketKey {
    pub(crate) fn is_http2(&self) -> bool {
        self.0.is_none()
    }
}

/// Returns the key of a WebSocket handshake (RFC 6455, section 4.2.1), or `None` if the request is not a
/// WebSocket handshake.
pub(crate) fn websocket_key(request: &impl RequestHead) -> Option<Result<WebSocketKey, RequestError>> {
    let is_connect = request.connects_websocket();
    if !is_connect && !request.wants_websocket() {
        return None;
    }
    if request.single_value(&header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != b"13") {
        return Some(Err(RequestError::WebSocketVersion));
    }
    // A body would be parsed as frames.
    let has_body = request.values(&header::TRANSFER_ENCODING).next().is_some()
        || request.values(&header::CONTENT_LENGTH).next().is_some_and(|length| length != b"0");
    if is_connect {
        return Some(if has_body { Err(RequestError::BadRequest) } else { Ok(WebSocketKey(None)) });
    }
    let key = request.single_value(&header::SEC_WEBSOCKET_KEY).and_then(WebSocketKey::parse);
    Some(match key {
        Some(key) if request.method() == "GET" && !has_body => Ok(key),
        _ => Err(RequestError::BadRequest),
    })
}

/// Creates the response that accepts a WebSocket: 101, or 200 in HTTP/2.
pub(crate) fn switching_protocols(
    key: &WebSocketKey,
    request: &HeaderMap,
    deflate: Option<Negotiated>,
) -> Response<ResponseBody> {
    let code = if key.0.is_some() { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
    let mut response = status(code);
    let headers = response.headers_mut();
    if let Some(key) = &key.0 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key)) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
    }
    if let Some(protocol) = subprotocol(request) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Some(deflate) = deflate {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, permessage_deflate::response_header(deflate));
    }
    response
}

/// Returns the first subprotocol that the client offers. The engine does not use subprotocols, and neither
/// does Node.js, but browsers fail a handshake in which the server selects none of the offered subprotocols.
fn subprotocol(request: &HeaderMap) -> Option<HeaderValue> {
    let offered = request.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').next()?.trim();
    if first.is_empty() { None } else { HeaderValue::from_str(first).ok() }
}
