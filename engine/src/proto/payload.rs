//! The body of a polling request or answer: packets joined by the record separator,
//! <https://socket.io/docs/v4/engine-io-protocol/#http-long-polling-1>.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::frame::Frame;

const SEPARATOR: u8 = 0x1e;

/// Takes the packet that starts at `at`, and the place where the next one starts; `None` after the last.
///
/// A body that is empty or ends with a separator holds an empty packet there, which no decoder accepts.
pub(crate) fn packet_at(body: &str, at: usize) -> Option<(&str, usize)> {
    let rest = body.get(at..)?;
    let end = rest.as_bytes().iter().position(|&byte| byte == SEPARATOR).unwrap_or(rest.len());
    Some((&rest[..end], at + end + 1))
}

/// Builds the answer to a poll.
#[derive(Debug, Default)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    pub(crate) fn push_control(&mut self, packet: &[u8]) {
        self.separate();
        self.0.extend_from_slice(packet);
    }

    pub(crate) fn push(&mut self, frame: &Frame) {
        self.separate();
        if frame.is_binary() {
            self.0.push(b'b');
            let start = self.0.len();
            let bytes = frame.payload();
            self.0.resize(start + bytes.len().div_ceil(3) * 4, 0);
            // The space is exactly what the padded encoding takes, so it cannot fail.
            let _ = BASE64_STANDARD.encode_slice(bytes, &mut self.0[start..]);
        } else {
            self.0.extend_from_slice(frame.payload());
        }
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.0
    }

    fn separate(&mut self) {
        if !self.0.is_empty() {
            self.0.push(SEPARATOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn split(body: &str) -> Vec<&str> {
        let mut at = 0;
        std::iter::from_fn(|| {
            let (packet, next) = packet_at(body, at)?;
            at = next;
            Some(packet)
        })
        .collect()
    }

    #[test]
    fn splits_at_separators() {
        assert_eq!(split("4a\u{1e}4é\u{1e}bAQ=="), ["4a", "4é", "bAQ=="]);
        assert_eq!(split(""), [""]);
        assert_eq!(split("4a\u{1e}"), ["4a", ""]);
    }

    #[test]
    fn joins_text_binary_and_control() {
        let mut answer = Answer::default();
        answer.push_control(b"2");
        answer.push(&Frame::text("hi"));
        answer.push(&Frame::binary(Bytes::from_static(&[1])));
        answer.push_control(b"6");
        assert_eq!(answer.into_body(), "2\u{1e}4hi\u{1e}bAQ==\u{1e}6".as_bytes());
    }
}
