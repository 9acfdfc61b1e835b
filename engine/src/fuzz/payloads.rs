//! Fuzz targets for the bodies of polling requests and responses.

use std::collections::VecDeque;

use super::packets::frame_of;
use crate::{
    Frame,
    proto::{
        dialect::{Dialect, Revision},
        packet::Packet,
        payload::{Payload, PayloadWriter, jsonp::Jsonp, v3},
    },
};

const V4: Dialect = Dialect { revision: Revision::V4, base64: false, jsonp: None };
const V3: Dialect = Dialect { revision: Revision::V3, ..V4 };

/// Decodes a body in protocol revision 4.
pub fn payload_v4(input: &[u8]) {
    body(input, V4, false);
}

/// Decodes a body in protocol revision 3, as text and as bytes, for clients with and without binary support.
pub fn payload_v3(input: &[u8]) {
    for dialect in [V3, Dialect { base64: true, ..V3 }] {
        body(input, dialect, false);
        body(input, dialect, true);
    }
}

/// Decodes a JSONP form, and encodes text as a script.
pub fn jsonp(input: &[u8]) {
    let function = Jsonp::from_query("7");
    for dialect in [Dialect { jsonp: function, ..V4 }, Dialect { jsonp: function, base64: true, ..V3 }] {
        body(input, dialect, false);
    }
    let (Some(function), Ok(text)) = (function, std::str::from_utf8(input)) else { return };
    let script = String::from_utf8(function.wrap(input)).expect("text");
    assert!(!script.contains(['\u{2028}', '\u{2029}', '\n', '\r']), "{script:?}");
    let literal = script.strip_prefix("___eio[7](").and_then(|rest| rest.strip_suffix(");"));
    assert_eq!(serde_json::from_str::<String>(literal.expect("a call")).expect("a literal"), text);
}

/// Decodes packets up to the first error. The decoded messages must survive encoding and decoding.
fn body(input: &[u8], dialect: Dialect, is_binary: bool) {
    let Some(payload) = Payload::new(input.to_vec(), dialect, is_binary) else {
        return assert!(std::str::from_utf8(input).is_err(), "text was refused");
    };
    let messages = messages(&payload);
    // In a form, each invalid byte becomes a replacement character of three bytes.
    let max_len = if dialect.jsonp.is_some() { 3 * input.len() } else { input.len() };
    assert!(messages.iter().map(|frame| frame.payload().len()).sum::<usize>() <= max_len);
    if messages.is_empty() {
        return;
    }
    let mut answer = PayloadWriter::new(dialect, &messages);
    for frame in &messages {
        answer.push(frame);
    }
    let body = answer.into_body();
    let is_binary = dialect.revision == Revision::V3 && v3::is_binary(&body);
    let payload = Payload::new(body, Dialect { jsonp: None, ..dialect }, is_binary).expect("a payload");
    let content = |frames: VecDeque<Frame>| -> Vec<_> {
        frames.iter().map(|frame| (frame.is_binary(), frame.payload().to_vec())).collect()
    };
    assert_eq!(content(self::messages(&payload)), content(messages));
}

fn messages(payload: &Payload) -> VecDeque<Frame> {
    let (mut messages, mut at) = (VecDeque::new(), 0);
    while payload.has_packet(at) {
        let before = at;
        let Ok(packet) = payload.packet(&mut at) else { break };
        assert!(before < at, "no progress");
        if let Packet::Message(message) = packet {
            messages.push_back(frame_of(&message));
        }
    }
    messages
}
