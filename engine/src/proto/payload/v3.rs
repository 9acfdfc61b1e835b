//! Payloads of protocol 3, in which each packet is prefixed with its length. See
//! <https://github.com/socketio/engine.io-protocol/tree/v3#payload>.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::proto::{
    dialect::Revision,
    frame::Frame,
    packet::{BINARY_MESSAGE, Malformed, Packet},
};

/// The first byte of a text packet in a binary body.
const TEXT: u8 = 0;
/// The first byte of a binary packet in a binary body.
const BINARY: u8 = 1;
/// The byte after the length in a binary body.
const END_OF_LEN: u8 = 0xff;

/// Decodes the packet at `at` of a text body and advances `at` past it.
///
/// The length counts UTF-16 code units, as in JavaScript. Clients encode an empty batch as an empty packet.
pub(crate) fn text_packet<'a>(body: &'a str, at: &mut usize) -> Result<Packet<'a>, Malformed> {
    let rest = body.get(*at..).ok_or(Malformed)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let units: usize = rest[..digits].parse().map_err(|_| Malformed)?;
    let data = rest[digits..].strip_prefix(':').ok_or(Malformed)?;
    let len = utf16_prefix(data, units).ok_or(Malformed)?;
    *at += digits + 1 + len;
    if len == 0 { Ok(Packet::Noop) } else { Packet::decode(&data[..len], Revision::V3) }
}

/// Decodes the packet at `at` of a binary body and advances `at` past it.
pub(crate) fn binary_packet<'a>(body: &'a [u8], at: &mut usize) -> Result<Packet<'a>, Malformed> {
    let rest = body.get(*at..).ok_or(Malformed)?;
    let (&kind, rest) = rest.split_first().ok_or(Malformed)?;
    let mut len: usize = 0;
    let mut digits = 0;
    while let Some(&digit @ 0..=9) = rest.get(digits) {
        len = len.checked_mul(10).and_then(|len| len.checked_add(digit.into())).ok_or(Malformed)?;
        digits += 1;
    }
    let data = rest[digits..].strip_prefix(&[END_OF_LEN]).filter(|_| digits > 0).ok_or(Malformed)?;
    let data = data.get(..len).ok_or(Malformed)?;
    *at += 1 + digits + 1 + len;
    match kind {
        TEXT => {
            let text = simdutf8::basic::from_utf8(data).map_err(|_| Malformed)?;
            Packet::decode(text, Revision::V3)
        }
        BINARY => Packet::decode_binary(Cow::Borrowed(data), Revision::V3),
        _ => Err(Malformed),
    }
}

/// Returns the length in bytes of the first `units` UTF-16 code units. Returns `None` if the text has fewer
/// code units, or if a surrogate pair would be split.
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

/// Returns the number of UTF-16 code units of UTF-8 text. A character of four bytes has two code units, and
/// any other character has one code unit.
fn utf16_len(text: &[u8]) -> usize {
    text.iter().map(|&byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}

/// Writes a text packet.
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
    // The space is the exact length of the padded encoding, so the encoding cannot fail.
    let _ = BASE64_STANDARD.encode_slice(bytes, &mut body[start..]);
}

/// Writes a text packet into a binary body.
pub(crate) fn push_text_as_binary(body: &mut Vec<u8>, packet: &[u8]) {
    push_binary_head(body, TEXT, packet.len());
    body.extend_from_slice(packet);
}

/// Writes a message into a binary body.
pub(crate) fn push_as_binary(body: &mut Vec<u8>, frame: &Frame) {
    let bytes = frame.payload();
    if !frame.is_binary() {
        return push_text_as_binary(body, bytes);
    }
    push_binary_head(body, BINARY, 1 + bytes.len());
    body.push(BINARY_MESSAGE);
    body.extend_from_slice(bytes);
}

fn push_binary_head(body: &mut Vec<u8>, kind: u8, len: usize) {
    body.push(kind);
    body.extend(len.to_string().bytes().map(|digit| digit - b'0'));
    body.push(END_OF_LEN);
}

/// Returns `true` if a body written by this module is binary. A text body begins with a digit.
pub(crate) fn is_binary(body: &[u8]) -> bool {
    matches!(body.first(), Some(&(TEXT | BINARY)))
}

fn push_number(body: &mut Vec<u8>, number: usize) {
    body.extend_from_slice(number.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::Message;

    type Reader<'a, B> = fn(&'a B, &mut usize) -> Result<Packet<'a>, Malformed>;

    /// Returns the packets before the first error, and `true` if there was an error.
    fn all<'a, B: AsRef<[u8]> + ?Sized>(body: &'a B, reader: Reader<'a, B>) -> (Vec<Packet<'a>>, bool) {
        let (mut packets, mut at) = (Vec::new(), 0);
        while at < body.as_ref().len() {
            let before = at;
            match reader(body, &mut at) {
                Ok(packet) => packets.push(packet),
                Err(Malformed) => return (packets, true),
            }
            assert!(before < at && at <= body.as_ref().len());
        }
        (packets, false)
    }

    fn read(body: &str) -> (Vec<Packet<'_>>, bool) {
        all(body, text_packet)
    }

    fn read_binary(body: &[u8]) -> (Vec<Packet<'_>>, bool) {
        all(body, binary_packet)
    }

    fn write_binary(frames: &[Frame]) -> Vec<u8> {
        let mut body = Vec::new();
        for frame in frames {
            push_as_binary(&mut body, frame);
        }
        body
    }

    fn message(text: &str) -> Packet<'_> {
        Packet::Message(Message::Text(text))
    }

    fn binary(bytes: &[u8]) -> Packet<'_> {
        Packet::Message(Message::Binary(bytes.into()))
    }

    fn write(frames: &[Frame]) -> String {
        let mut body = Vec::new();
        for frame in frames {
            push(&mut body, frame);
        }
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
        // The length splits a surrogate pair.
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

    #[test]
    fn reads_binary_bodies() {
        assert_eq!(read_binary(&[1, 4, 0xff, 4, 1, 2, 3]), (vec![binary(&[1, 2, 3])], false));
        let euro = [0, 4, 0xff, b'4', 0xe2, 0x82, 0xac, 1, 1, 0xff, 4];
        assert_eq!(read_binary(&euro), (vec![message("€"), binary(&[])], false));
        assert_eq!(read_binary(&[0, 0, 2, 0xff, b'4', b'a']), (vec![message("a")], false));
        assert_eq!(
            read_binary(&[0, 6, 0xff, b'b', b'4', b'A', b'Q', b'=', b'=']),
            (vec![binary(&[1])], false)
        );
        assert_eq!(binary_packet(&[], &mut 0), Err(Malformed));
        let huge: Vec<u8> = [&[1][..], &[9; 25], &[0xff, 4]].concat();
        for bad in [
            &[0][..],
            &[0, 1],
            &[0, 0xff, b'4'],
            &[0, 0, 0xff],
            &[0, 2, 0xff, b'4'],
            &[0, b'1', 0xff, b'4'],
            &[2, 1, 0xff, b'4'],
            b"4a",
            &[1, 0, 0xff],
            &[1, 1, 0xff, 2],
            &[0, 2, 0xff, b'4', 0xff],
            &huge,
        ] {
            assert_eq!(read_binary(bad), (vec![], true), "{bad:?}");
        }
    }

    #[test]
    fn writes_binary_bodies() {
        let frames = [Frame::text("€"), Frame::binary(Bytes::from_static(&[1, 2, 3]))];
        let body = write_binary(&frames);
        assert_eq!(body, [0, 4, 0xff, b'4', 0xe2, 0x82, 0xac, 1, 4, 0xff, 4, 1, 2, 3]);
        assert!(is_binary(&body));
        assert!(!is_binary(write(&frames).as_bytes()));
        let long = write_binary(&[Frame::binary(vec![7; 1233].into())]);
        assert_eq!(long[..7], [1, 1, 2, 3, 4, 0xff, 4]);
    }

    /// Builds text or binary messages and the packets that they decode to.
    fn frames(parts: &[(bool, String)]) -> (Vec<Frame>, Vec<Packet<'_>>) {
        parts
            .iter()
            .map(|(is_binary, text)| {
                if *is_binary {
                    (Frame::binary(text.clone().into()), binary(text.as_bytes()))
                } else {
                    (Frame::text(text), message(text))
                }
            })
            .unzip()
    }

    proptest! {
        #[test]
        fn never_panics_and_always_ends(body: String, bytes: Vec<u8>) {
            read(&body);
            read_binary(&bytes);
        }

        #[test]
        fn never_panics_on_what_looks_like_a_binary_body(
            parts in vec((0..3_u8, vec(0..11_u8, 0..4), "4?[aé]{0,3}"), 0..4)
        ) {
            let part = |(kind, len, data): &(u8, Vec<u8>, String)| [&[*kind], &len[..], &[0xff], data.as_bytes()].concat();
            read_binary(&parts.iter().flat_map(part).collect::<Vec<u8>>());
        }

        #[test]
        fn never_panics_on_what_looks_like_a_payload(body in "([0-9]{0,3}:?[0-6b]{0,2}[aé€😀=]{0,4}){0,4}") {
            read(&body);
        }

        #[test]
        fn what_is_written_is_read(parts: Vec<(bool, String)>) {
            let (frames, expected) = frames(&parts);
            let (text, bytes) = (write(&frames), write_binary(&frames));
            prop_assert_eq!(read(&text), (expected.clone(), false));
            prop_assert_eq!(read_binary(&bytes), (expected, false));
        }
    }
}
