//! Payloads are JSON or MessagePack. Servers of Node.js accept both for requests and responses, and only MessagePack can
//! contain binary data.

use std::borrow::Cow;

use bytes::Bytes;
use socketio::cluster::node::{Malformed, msgpack_from_json, msgpack_to_json};

/// The maximum number of binary values in a message of another server.
const MAX_ATTACHMENTS: usize = 16_384;

/// Returns JSON text with placeholders of binary data as a payload. It is empty if the text cannot be encoded.
pub(super) fn json_or_msgpack(json: String, attachments: &[Bytes]) -> Vec<u8> {
    if attachments.is_empty() {
        return json.into_bytes();
    }
    msgpack_from_json(&json, attachments).unwrap_or_default()
}

/// Returns a payload as JSON text with placeholders, and the binary data.
pub(super) fn text_and_attachments(payload: &[u8]) -> Result<(Cow<'_, str>, Vec<Bytes>), Malformed> {
    if matches!(payload.first(), Some(b'{' | b'[')) {
        return Ok((Cow::Borrowed(std::str::from_utf8(payload).map_err(|_| Malformed)?), Vec::new()));
    }
    let (json, attachments) = msgpack_to_json(payload, MAX_ATTACHMENTS).map_err(|_| Malformed)?;
    Ok((Cow::Owned(json), attachments))
}

/// Returns a payload as MessagePack.
pub(super) fn msgpack(payload: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    if !matches!(payload.first(), Some(b'{' | b'[')) {
        return Ok(Cow::Borrowed(payload));
    }
    let json = std::str::from_utf8(payload).map_err(|_| Malformed)?;
    msgpack_from_json(json, &[]).map(Cow::Owned).map_err(|_| Malformed)
}

/// Returns a value as JSON text.
pub(super) fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    // Serializing strings cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}
