//! The WebSocket handshake (RFC 6455, section 4.2).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    RequestError, ResponseBody,
    http::{permessage_deflate, reply::status, view::RequestHead},
    proto::deflate::Negotiated,
};

/// The key of a WebSocket handshake: 16 bytes in base64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WebSocketKey([u8; 24]);

impl WebSocketKey {
    fn parse(value: &[u8]) -> Option<Self> {
        let mut nonce = [0; 18];
        let is_nonce = BASE64_STANDARD.decode_slice(value, &mut nonce).is_ok_and(|len| len == 16);
        value.try_into().ok().filter(|_| is_nonce).map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Returns the key of a WebSocket handshake (RFC 6455, section 4.2.1), or `None` if the request is not a
/// WebSocket handshake.
pub(crate) fn websocket_key(request: &impl RequestHead) -> Option<Result<WebSocketKey, RequestError>> {
    if !request.wants_websocket() {
        return None;
    }
    if request.single_value(&header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != b"13") {
        return Some(Err(RequestError::WebSocketVersion));
    }
    // A body would be parsed as frames.
    let has_body = request.values(&header::TRANSFER_ENCODING).next().is_some()
        || request.values(&header::CONTENT_LENGTH).next().is_some_and(|length| length != b"0");
    let key = request.single_value(&header::SEC_WEBSOCKET_KEY).and_then(WebSocketKey::parse);
    Some(match key {
        Some(key) if request.method() == "GET" && !has_body => Ok(key),
        _ => Err(RequestError::BadRequest),
    })
}

pub(crate) fn switching_protocols(
    key: &WebSocketKey,
    request: &HeaderMap,
    deflate: Option<Negotiated>,
) -> Response<ResponseBody> {
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
