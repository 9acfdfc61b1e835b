//! The body of a polling request or answer: packets joined by the record separator,
//! <https://socket.io/docs/v4/engine-io-protocol/#http-long-polling-1>.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    dialect::{Dialect, Revision},
    frame::Frame,
    packet::{Malformed, Packet},
    payload_v3,
};

const SEPARATOR: u8 = 0x1e;

/// The body of a POST.
#[derive(Debug)]
pub(crate) enum Payload {
    V4(String),
    V3(String),
}

impl Payload {
    /// `None` if the body is not UTF-8.
    pub(crate) fn new(body: Vec<u8>, dialect: Dialect) -> Option<Self> {
        let body = String::from_utf8(body).ok()?;
        Some(match dialect.revision {
            Revision::V4 => Self::V4(body),
            Revision::V3 => Self::V3(body),
        })
    }

    /// Whether a packet starts at `at`, well-formed or not. Every body has one at its start.
    pub(crate) fn has_packet(&self, at: usize) -> bool {
        match self {
            // Behind a separator at the end stands an empty packet.
            Self::V4(body) => at <= body.len(),
            Self::V3(body) => at < body.len().max(1),
        }
    }

    /// Takes the packet at `at`, and moves `at` behind it.
    pub(crate) fn packet(&self, at: &mut usize) -> Result<Packet<'_>, Malformed> {
        match self {
            Self::V4(body) => Packet::decode(packet_at(body, at), Revision::V4),
            Self::V3(body) => payload_v3::text_packet(body, at),
        }
    }
}

/// Takes what stands between `at` and the next separator. A body that is empty or ends with a separator holds an
/// empty packet there, which no decoder accepts.
fn packet_at<'a>(body: &'a str, at: &mut usize) -> &'a str {
    let rest = body.get(*at..).unwrap_or_default();
    let end = rest.as_bytes().iter().position(|&byte| byte == SEPARATOR).unwrap_or(rest.len());
    *at += end + 1;
    &rest[..end]
}

/// Builds the answer to a poll.
#[derive(Debug)]
pub(crate) struct Answer {
    revision: Revision,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self { revision: dialect.revision, body: Vec::new() }
    }

    pub(crate) fn push_control(&mut self, packet: &[u8]) {
        match self.revision {
            Revision::V4 => {
                self.separate();
                self.body.extend_from_slice(packet);
            }
            Revision::V3 => payload_v3::push_text(&mut self.body, packet),
        }
    }

    /// A ping, or in protocol 3 the answer to one.
    pub(crate) fn push_heartbeat(&mut self) {
        self.push_control(match self.revision {
            Revision::V4 => b"2",
            Revision::V3 => b"3",
        });
    }

    pub(crate) fn push(&mut self, frame: &Frame) {
        if self.revision == Revision::V3 {
            return payload_v3::push(&mut self.body, frame);
        }
        self.separate();
        if frame.is_binary() {
            self.body.push(b'b');
            let start = self.body.len();
            let bytes = frame.payload();
            self.body.resize(start + bytes.len().div_ceil(3) * 4, 0);
            // The space is exactly what the padded encoding takes, so it cannot fail.
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
    fn joins_text_binary_and_control() {
        let mut answer = Answer::new(Dialect::CURRENT);
        answer.push_control(b"2");
        answer.push(&Frame::text("hi"));
        answer.push(&Frame::binary(Bytes::from_static(&[1])));
        answer.push_control(b"6");
        assert_eq!(answer.into_body(), "2\u{1e}4hi\u{1e}bAQ==\u{1e}6".as_bytes());
    }
}
