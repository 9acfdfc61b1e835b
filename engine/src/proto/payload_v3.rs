//! Payloads of protocol 3: each packet stands behind its length,
//! <https://github.com/socketio/engine.io-protocol/tree/v3#payload>.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    dialect::Revision,
    frame::Frame,
    packet::{Malformed, Packet},
};

/// Takes the packet at `at` of a text body, and moves `at` behind it.
///
/// The length counts UTF-16 code units, as JavaScript counts. An empty packet is what an empty batch is written as.
pub(crate) fn text_packet<'a>(body: &'a str, at: &mut usize) -> Result<Packet<'a>, Malformed> {
    let rest = body.get(*at..).ok_or(Malformed)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let units: usize = rest[..digits].parse().map_err(|_| Malformed)?;
    let data = rest[digits..].strip_prefix(':').ok_or(Malformed)?;
    let len = utf16_prefix(data, units).ok_or(Malformed)?;
    *at += digits + 1 + len;
    if len == 0 { Ok(Packet::Noop) } else { Packet::decode(&data[..len], Revision::V3) }
}

/// The length in bytes of the first `units` UTF-16 code units; `None` if there are less, or half a pair is cut off.
fn utf16_prefix(text: &str, units: usize) -> Option<usize> {
    if text.as_bytes().get(..units)?.is_ascii() {
        return Some(units);
    }
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(char.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

/// The number of UTF-16 code units of UTF-8 text: one for each character, and one more for those of four bytes.
fn utf16_len(text: &[u8]) -> usize {
    text.iter().map(|&byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}

/// Writes a packet that is text.
pub(crate) fn push_text(body: &mut Vec<u8>, packet: &[u8]) {
    push_number(body, utf16_len(packet));
    body.push(b':');
    body.extend_from_slice(packet);
}

/// Writes a message as a text packet, in base64 if it is binary.
pub(crate) fn push(body: &mut Vec<u8>, frame: &Frame) {
    let bytes = frame.payload();
    if !frame.is_binary() {
        return push_text(body, bytes);
    }
    let len = bytes.len().div_ceil(3) * 4;
    push_number(body, 2 + len);
    body.extend_from_slice(b":b4");
    let start = body.len();
    body.resize(start + len, 0);
    // The space is exactly what the padded encoding takes, so it cannot fail.
    let _ = BASE64_STANDARD.encode_slice(bytes, &mut body[start..]);
}

fn push_number(body: &mut Vec<u8>, number: usize) {
    body.extend_from_slice(number.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::Message;

    /// The packets before the first fault, and whether there was one.
    fn read(body: &str) -> (Vec<Packet<'_>>, bool) {
        let (mut packets, mut at) = (Vec::new(), 0);
        while at < body.len() {
            match text_packet(body, &mut at) {
                Ok(packet) => packets.push(packet),
                Err(Malformed) => return (packets, true),
            }
        }
        (packets, false)
    }

    fn message(text: &str) -> Packet<'_> {
        Packet::Message(Message::Text(text))
    }

    fn binary(bytes: &[u8]) -> Packet<'_> {
        Packet::Message(Message::Binary(bytes.into()))
    }

    fn write(frames: &[Frame]) -> String {
        let mut body = Vec::new();
        frames.iter().for_each(|frame| push(&mut body, frame));
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn reads_the_examples_of_the_protocol() {
        assert_eq!(read("6:4hello2:4€"), (vec![message("hello"), message("€")], false));
        assert_eq!(read("7:4€hé😀1:2"), (vec![message("€hé😀1")], true));
        assert_eq!(read("6:4€hé😀1:2"), (vec![message("€hé😀"), Packet::Ping { probe: false }], false));
        assert_eq!(read("10:b4AQIDBA=="), (vec![binary(&[1, 2, 3, 4])], false));
        assert_eq!(read("0:"), (vec![Packet::Noop], false));
        assert_eq!(read("0:1:4"), (vec![Packet::Noop, message("")], false));
    }

    #[test]
    fn refuses_what_is_no_payload() {
        for bad in ["4hello", ":4a", "x:4a", "3:4a", "1:", "-1:4", " 2:4a", "2 :4a", "1e0:4", "3:b2A", "1:7"]
        {
            assert!(read(bad).1, "{bad}");
        }
        // Half of a surrogate pair.
        assert_eq!(read("2:4😀").0, []);
        assert_eq!(read("99999999999999999999:4"), (vec![], true));
        assert_eq!(read("18446744073709551615:4"), (vec![], true));
        assert_eq!(text_packet("", &mut 0), Err(Malformed));
        assert_eq!(read("2:4a5"), (vec![message("a")], true));
    }

    #[test]
    fn writes_the_examples_of_the_protocol() {
        assert_eq!(write(&[Frame::text("hello"), Frame::text("€")]), "6:4hello2:4€");
        assert_eq!(write(&[Frame::text("€hé😀")]), "6:4€hé😀");
        assert_eq!(write(&[Frame::binary(Bytes::from_static(&[1, 2, 3, 4]))]), "10:b4AQIDBA==");
        assert_eq!(write(&[Frame::binary(Bytes::new())]), "2:b4");
    }

    proptest! {
        #[test]
        fn never_panics_and_always_ends(body: String) {
            read(&body);
        }

        #[test]
        fn never_panics_on_what_looks_like_a_payload(body in "([0-9]{0,3}:?[0-6b]{0,2}[aé€😀=]{0,4}){0,4}") {
            read(&body);
        }

        #[test]
        fn what_is_written_is_read(parts: Vec<(bool, String)>) {
            let frames: Vec<Frame> = parts.iter().map(|(is_binary, text)| {
                if *is_binary { Frame::binary(text.clone().into()) } else { Frame::text(text) }
            }).collect();
            let expected: Vec<Packet<'_>> = parts.iter().map(|(is_binary, text)| {
                if *is_binary { binary(text.as_bytes()) } else { message(text) }
            }).collect();
            let body = write(&frames);
            prop_assert_eq!(read(&body), (expected, false));
        }
    }
}
