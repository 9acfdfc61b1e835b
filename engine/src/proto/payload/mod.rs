//! The body of a polling request or response, which consists of packets joined by the record separator. See
//! <https://socket.io/docs/v4/engine-io-protocol/#http-long-polling-1>.

pub(crate) mod jsonp;
pub(crate) mod v3;

use std::{borrow::Cow, collections::VecDeque};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use memchr::memchr;
use simdutf8::basic::from_utf8;

use super::{
    dialect::{Dialect, Revision},
    frame::Frame,
    packet::{Malformed, Packet},
};

const SEPARATOR: u8 = 0x1e;

/// The body of a POST.
#[derive(Debug)]
pub(crate) enum Payload {
    V4(String),
    V3(String),
    V3Binary(Vec<u8>),
    /// A form without packets.
    Nothing,
}

impl Payload {
    /// Creates a payload from the body of a POST. Returns `None` if the body is text but not valid UTF-8.
    pub(crate) fn new<'a>(body: impl Into<Cow<'a, [u8]>>, dialect: Dialect, is_binary: bool) -> Option<Self> {
        let body = body.into();
        if is_binary {
            return Some(Self::V3Binary(body.into_owned()));
        }
        let body = if dialect.jsonp.is_some() {
            let Some(body) = jsonp::unwrap(&body) else { return Some(Self::Nothing) };
            body
        } else {
            match body {
                Cow::Borrowed(body) => from_utf8(body).ok()?.to_owned(),
                Cow::Owned(body) => String::from_utf8(body).ok()?,
            }
        };
        Some(match dialect.revision {
            Revision::V4 => Self::V4(body),
            Revision::V3 => Self::V3(body),
        })
    }

    /// Returns `true` if a packet starts at `at`, well-formed or not. Every body except `Nothing` has a
    /// packet at its start.
    pub(crate) fn has_packet(&self, at: usize) -> bool {
        match self {
            // An empty packet follows a trailing separator.
            Self::V4(body) => at <= body.len(),
            Self::V3(body) => at < body.len().max(1),
            Self::V3Binary(body) => at < body.len().max(1),
            Self::Nothing => false,
        }
    }

    /// Decodes the packet at `at` and advances `at` past it.
    pub(crate) fn packet(&self, at: &mut usize) -> Result<Packet<'_>, Malformed> {
        match self {
            Self::V4(body) => Packet::decode(packet_at(body, at), Revision::V4),
            Self::V3(body) => v3::text_packet(body, at),
            Self::V3Binary(body) => v3::binary_packet(body, at),
            Self::Nothing => Err(Malformed),
        }
    }
}

/// Returns the text between `at` and the next separator. A body that is empty or ends with a separator
/// contains an empty packet, which the decoder rejects.
fn packet_at<'a>(body: &'a str, at: &mut usize) -> &'a str {
    let rest = body.get(*at..).unwrap_or_default();
    let end = memchr(SEPARATOR, rest.as_bytes()).unwrap_or(rest.len());
    *at += end + 1;
    &rest[..end]
}

/// A writer for the body of the response to a poll.
#[derive(Debug)]
pub(crate) struct PayloadWriter {
    form: Form,
    body: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    V4,
    V3,
    V3Binary,
}

impl PayloadWriter {
    /// Creates a writer for a body that will contain these messages.
    pub(crate) fn new(dialect: Dialect, frames: &VecDeque<Frame>) -> Self {
        let form = match dialect.revision {
            Revision::V4 => Form::V4,
            Revision::V3 if !dialect.base64 && frames.iter().any(Frame::is_binary) => Form::V3Binary,
            Revision::V3 => Form::V3,
        };
        Self { form, body: Vec::new() }
    }

    pub(crate) fn push_control(&mut self, packet: &[u8]) {
        match self.form {
            Form::V4 => {
                self.separate();
                self.body.extend_from_slice(packet);
            }
            Form::V3 => v3::push_text(&mut self.body, packet),
            Form::V3Binary => v3::push_text_as_binary(&mut self.body, packet),
        }
    }

    /// Writes a ping, or in protocol 3 a pong.
    pub(crate) fn push_heartbeat(&mut self) {
        self.push_control(match self.form {
            Form::V4 => b"2",
            Form::V3 | Form::V3Binary => b"3",
        });
    }

    pub(crate) fn push(&mut self, frame: &Frame) {
        match self.form {
            Form::V4 => {}
            Form::V3 => return v3::push(&mut self.body, frame),
            Form::V3Binary => return v3::push_as_binary(&mut self.body, frame),
        }
        self.separate();
        if frame.is_binary() {
            self.body.push(b'b');
            let start = self.body.len();
            let bytes = frame.payload();
            self.body.resize(start + bytes.len().div_ceil(3) * 4, 0);
            // The space is the exact length of the padded encoding, so the encoding cannot fail.
            let _ = BASE64_STANDARD.encode_slice(bytes, &mut self.body[start..]);
        } else {
            self.body.extend_from_slice(frame.payload());
        }
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }

    fn separate(&mut self) {
        if !self.body.is_empty() {
            self.body.push(SEPARATOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn split(body: &str) -> Vec<&str> {
        let mut at = 0;
        std::iter::from_fn(|| (at <= body.len()).then(|| packet_at(body, &mut at))).collect()
    }

    #[test]
    fn splits_at_separators() {
        assert_eq!(split("4a\u{1e}4é\u{1e}bAQ=="), ["4a", "4é", "bAQ=="]);
        assert_eq!(split(""), [""]);
        assert_eq!(split("4a\u{1e}"), ["4a", ""]);
    }

    #[test]
    fn protocol_3_gets_a_binary_body_only_for_binary_messages_that_it_can_read() {
        let v3 = |base64| Dialect { revision: Revision::V3, base64, ..Dialect::CURRENT };
        let body = |dialect, has_binary: bool| {
            let binary = Frame::binary(Bytes::from_static(&[1]));
            let frames = [Frame::text("é")].into_iter().chain(has_binary.then_some(binary)).collect();
            let mut answer = PayloadWriter::new(dialect, &frames);
            answer.push_heartbeat();
            for frame in &frames {
                answer.push(frame);
            }
            answer.push_control(b"6");
            answer.into_body()
        };
        assert_eq!(body(v3(false), false), "1:32:4é1:6".as_bytes());
        assert_eq!(body(v3(true), true), "1:32:4é6:b4AQ==1:6".as_bytes());
        let binary = [0, 1, 0xff, b'3', 0, 3, 0xff, b'4', 0xc3, 0xa9, 1, 2, 0xff, 4, 1, 0, 1, 0xff, b'6'];
        assert_eq!(body(v3(false), true), binary);
    }

    #[test]
    fn forms_hold_packets_or_nothing() {
        let dialect = Dialect { jsonp: jsonp::Jsonp::from_query("0"), ..Dialect::CURRENT };
        let form = |body: &[u8]| Payload::new(body.to_vec(), dialect, false).unwrap();
        let payload = form(b"d=4a%1E2");
        let mut at = 0;
        assert_eq!(payload.packet(&mut at), Packet::decode("4a", Revision::V4));
        assert_eq!(payload.packet(&mut at), Ok(Packet::Ping { probe: false }));
        assert!(!payload.has_packet(at));
        assert!(!form(b"4a").has_packet(0));
    }

    #[test]
    fn an_empty_body_holds_a_malformed_packet_in_every_form() {
        let v3 = Dialect { revision: Revision::V3, ..Dialect::CURRENT };
        for (dialect, is_binary) in [(Dialect::CURRENT, false), (v3, false), (v3, true)] {
            let payload = Payload::new(Vec::new(), dialect, is_binary).unwrap();
            assert!(payload.has_packet(0));
            assert_eq!(payload.packet(&mut 0), Err(Malformed));
        }
    }

    #[test]
    fn joins_text_binary_and_control() {
        let mut answer = PayloadWriter::new(Dialect::CURRENT, &VecDeque::new());
        answer.push_control(b"2");
        answer.push(&Frame::text("hi"));
        answer.push(&Frame::binary(Bytes::from_static(&[1])));
        answer.push_control(b"6");
        assert_eq!(answer.into_body(), "2\u{1e}4hi\u{1e}bAQ==\u{1e}6".as_bytes());
    }
}
