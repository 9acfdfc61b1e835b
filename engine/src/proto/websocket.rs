//! An in-place decoder for WebSocket frames. It implements the server side of RFC 6455.
//!
//! tungstenite parses the frame header. The decoding loop is implemented in this module, because decoding
//! must not copy messages and must not keep a buffer for an idle connection.

use std::{borrow::Cow, io::Cursor};

use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use super::session::CloseReason;
use crate::proto::deflate::Inflate;

/// The number of fragments in a message is not limited if their average size is at least this number of
/// bytes.
const SENSIBLE_FRAGMENT: usize = 32;
const MAX_CONTROL_LEN: u64 = 125;

/// A decoded message or control frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Ping(&'a [u8]),
    Pong,
    /// A close frame, with the status code if present.
    Close(Option<u16>),
}

/// A protocol violation or an exceeded limit that closes the connection. It determines the code and the
/// reason in the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Protocol,
    InvalidUtf8,
    /// The data of a compressed message is invalid.
    #[cfg_attr(not(feature = "compression"), allow(dead_code, reason = "nothing is compressed"))]
    InvalidDeflate,
    TooManyFragments,
    TooLarge,
    TooManyPings,
    /// A message was not completed in time.
    TooSlow,
}

impl Fault {
    pub(crate) fn close_code(self) -> u16 {
        u16::from(match self {
            Self::Protocol => CloseCode::Protocol,
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::Invalid,
            Self::TooManyFragments | Self::TooManyPings | Self::TooSlow => CloseCode::Policy,
            Self::TooLarge => CloseCode::Size,
        })
    }

    /// Returns the reason for the close frame. As in Node.js, the reason is empty if a message is too large.
    pub(crate) fn reason(self) -> &'static str {
        if self == Self::TooLarge { "" } else { CloseReason::TransportError.as_str() }
    }
}

/// Returns the code of the close frame for a session that was closed for this reason. `None` selects the code
/// for a WebSocket that is closed while its session continues. See RFC 6455, section 7.4.1.
pub(crate) fn close_code(reason: Option<CloseReason>) -> u16 {
    match reason {
        None | Some(CloseReason::ForcedClose | CloseReason::TransportClose) => 1000,
        Some(CloseReason::ServerShuttingDown) => 1001,
        Some(CloseReason::ParseError | CloseReason::TransportError | CloseReason::Violation) => 1002,
        Some(CloseReason::PingTimeout | CloseReason::SlowConsumer) => 1008,
        Some(CloseReason::Evicted) => 1013,
    }
}

/// A decoder for the frames of one client. It stores only the fragments of an incomplete message and, if
/// compression was negotiated, the decompressor.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    fragments: Option<Box<Fragments>>,
    /// `Some` if the client may compress its messages.
    inflate: Option<Box<Inflate>>,
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    compressed: bool,
    count: usize,
    bytes: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(inflate: Option<Inflate>) -> Self {
        Self { fragments: None, inflate: inflate.map(Box::new) }
    }

    /// Returns `true` if fragments of an incomplete message have been decoded.
    pub(crate) fn is_within_message(&self) -> bool {
        self.fragments.is_some()
    }

    /// Decodes the frame at the start of `input`. Returns the length of the frame and the resulting event, or
    /// `None` if the frame is incomplete. A frame that does not complete a message has no event.
    ///
    /// A message larger than `max_len` is rejected as soon as its header is decoded. A compressed message is
    /// rejected once more than `max_len` bytes are decompressed. The limit `max_fragments` applies only to
    /// small fragments, because an endless series of one-byte fragments would use CPU time without reaching
    /// the size limit.
    pub(crate) fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        max_len: usize,
        max_fragments: usize,
    ) -> Result<Option<(usize, Option<Event<'a>>)>, Fault> {
        let mut cursor = Cursor::new(&*input);
        let Some((header, len)) = FrameHeader::parse(&mut cursor).map_err(|_| Fault::Protocol)? else {
            return Ok(None);
        };
        let start = cursor.position() as usize;
        let mask = self.check(&header, len, max_len)?;
        // `check` has verified that the length fits into a `usize`.
        let end = start + len as usize;
        if input.len() < end {
            return Ok(None);
        }
        let payload = &mut input[start..end];
        unmask(payload, mask);
        let event = match header.opcode {
            OpCode::Data(data) => self.data(data, &header, payload, max_len, max_fragments)?,
            OpCode::Control(Control::Ping) => Some(Event::Ping(payload)),
            OpCode::Control(Control::Pong) => Some(Event::Pong),
            OpCode::Control(_) => Some(close(payload)?),
        };
        Ok(Some((end, event)))
    }

    /// Checks the header before any payload is buffered, and returns the mask.
    fn check(&self, header: &FrameHeader, len: u64, max_len: usize) -> Result<[u8; 4], Fault> {
        let starts = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        // RSV1 on the first frame marks a message as compressed. See RFC 7692, section 6.
        let may_compress = starts && self.inflate.is_some();
        let reserved_bits = (header.rsv1 && !may_compress) || header.rsv2 || header.rsv3;
        let mask = header.mask.filter(|_| !reserved_bits).ok_or(Fault::Protocol)?;
        match header.opcode {
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => Err(Fault::Protocol),
            OpCode::Control(_) if len > MAX_CONTROL_LEN || !header.is_final => Err(Fault::Protocol),
            OpCode::Control(_) => Ok(mask),
            OpCode::Data(data) => {
                if (data == Data::Continue) != self.fragments.is_some() {
                    return Err(Fault::Protocol);
                }
                let fragments = self.fragments.as_ref();
                let before = fragments.map_or(0, |fragments| fragments.bytes.len());
                let compressed = fragments.map_or(header.rsv1, |fragments| fragments.compressed);
                let max_len = if compressed { max_compressed_len(max_len) } else { max_len };
                if len > (max_len - before) as u64 {
                    return Err(Fault::TooLarge);
                }
                Ok(mask)
            }
        }
    }

    fn data<'a>(
        &mut self,
        data: Data,
        header: &FrameHeader,
        payload: &'a mut [u8],
        max_len: usize,
        max_fragments: usize,
    ) -> Result<Option<Event<'a>>, Fault> {
        let text = data == Data::Text;
        if header.is_final && data != Data::Continue {
            return if header.rsv1 { self.compressed(text, payload, max_len) } else { whole(text, payload) }
                .map(Some);
        }
        let fragments = self.fragments.get_or_insert_with(|| {
            Box::new(Fragments { text, compressed: header.rsv1, count: 0, bytes: Vec::new() })
        });
        fragments.count += 1;
        fragments.bytes.extend_from_slice(payload);
        if fragments.count > max_fragments && fragments.bytes.len() < fragments.count * SENSIBLE_FRAGMENT {
            return Err(Fault::TooManyFragments);
        }
        if !header.is_final {
            return Ok(None);
        }
        let Some(Fragments { text, compressed, bytes, .. }) =
            self.fragments.take().map(|fragments| *fragments)
        else {
            return Ok(None);
        };
        if compressed { self.compressed(text, &bytes, max_len) } else { owned(text, bytes) }.map(Some)
    }

    fn compressed<'a>(&mut self, text: bool, payload: &[u8], max_len: usize) -> Result<Event<'a>, Fault> {
        // `check` accepts RSV1 only if there is a decompressor.
        let inflate = self.inflate.as_mut().ok_or(Fault::Protocol)?;
        owned(text, inflate.inflate(payload, max_len)?)
    }
}

/// Returns the largest compressed size of a message of `max_len` bytes. According to `deflateBound` of zlib,
/// compression enlarges a message by at most an eighth, a 64th and a few bytes.
fn max_compressed_len(max_len: usize) -> usize {
    max_len.saturating_add(max_len / 8 + max_len / 64 + 16)
}

fn owned<'a>(text: bool, bytes: Vec<u8>) -> Result<Event<'a>, Fault> {
    if !text {
        return Ok(Event::Binary(Cow::Owned(bytes)));
    }
    let text = String::from_utf8(bytes).map_err(|_| Fault::InvalidUtf8)?;
    Ok(Event::Text(Cow::Owned(text)))
}

fn whole(text: bool, payload: &mut [u8]) -> Result<Event<'_>, Fault> {
    if !text {
        return Ok(Event::Binary(Cow::Borrowed(payload)));
    }
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| Fault::InvalidUtf8)?;
    Ok(Event::Text(Cow::Borrowed(text)))
}

/// Decodes the payload of a close frame, which is empty or consists of a valid code and a reason in UTF-8.
fn close(payload: &[u8]) -> Result<Event<'_>, Fault> {
    match payload {
        [] => Ok(Event::Close(None)),
        [_] => Err(Fault::Protocol),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            // The valid codes are defined in RFC 6455, section 7.4.1, or have been registered with IANA
            // since. Codes from 3000 are defined by libraries and applications.
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(Fault::Protocol);
            }
            simdutf8::basic::from_utf8(reason).map_err(|_| Fault::InvalidUtf8)?;
            Ok(Event::Close(Some(code)))
        }
    }
}

/// Unmasks the payload, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use testkit::frames::frame;

    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    const MAX_FRAGMENTS: usize = 100;

    /// Decodes all of `bytes` and returns the events as text, for example `T:hello`.
    fn decode_all(mut bytes: Vec<u8>, max_len: usize) -> Result<Vec<String>, Fault> {
        let mut decoder = Decoder::default();
        let mut at = 0;
        let mut events = Vec::new();
        while let Some((used, event)) = decoder.decode(&mut bytes[at..], max_len, MAX_FRAGMENTS)? {
            at += used;
            events.extend(event.map(|event| match event {
                Event::Text(text) => format!("T:{text}"),
                Event::Binary(bytes) => format!("B:{bytes:?}"),
                Event::Ping(_) => "ping".into(),
                Event::Pong => "pong".into(),
                Event::Close(code) => format!("close {code:?}"),
            }));
        }
        Ok(events)
    }

    #[test]
    fn decodes_several_frames_of_one_read() {
        let bytes = [frame(0x81, b"one"), frame(0x82, [1, 2]), frame(0x89, b"p"), frame(0x88, [])].concat();
        assert_eq!(decode_all(bytes, 100).unwrap(), ["T:one", "B:[1, 2]", "ping", "close None"]);
    }

    #[test]
    fn joins_fragments_around_control_frames() {
        let euro = "€".as_bytes();
        let bytes =
            [frame(0x01, &euro[..1]), frame(0x8a, b""), frame(0x00, &euro[1..2]), frame(0x80, &euro[2..])];
        assert_eq!(decode_all(bytes.concat(), 100).unwrap(), ["pong", "T:€"]);
    }

    #[test]
    fn message_size_is_limited_exactly() {
        assert_eq!(decode_all(frame(0x82, [0; 10]), 10).unwrap().len(), 1);
        assert_eq!(decode_all(frame(0x82, [0; 11]), 10), Err(Fault::TooLarge));
        let parts = |last: &[u8]| [frame(0x02, [0; 6]), frame(0x80, last)].concat();
        assert_eq!(decode_all(parts(&[0; 4]), 10).unwrap().len(), 1);
        assert_eq!(decode_all(parts(&[0; 5]), 10), Err(Fault::TooLarge));
    }

    #[test]
    fn a_huge_announced_length_is_refused_by_its_header() {
        for len in [2_u64 << 30, (1 << 63) + 5, 1_000_001] {
            let mut bytes = vec![0x82, 0xff];
            bytes.extend(len.to_be_bytes());
            bytes.extend(MASK);
            assert!(decode_all(bytes, 1_000_000).is_err(), "{len}");
        }
    }

    #[test]
    fn fragments_are_limited_exactly() {
        let message = |fragments: usize, size: usize| {
            let payload = vec![b'x'; size];
            let mut bytes = frame(0x02, &payload);
            for _ in 2..fragments {
                bytes.extend(frame(0x00, &payload));
            }
            bytes.extend(frame(0x80, &payload));
            decode_all(bytes, 1 << 20)
        };
        for size in [0, 1, SENSIBLE_FRAGMENT - 1] {
            assert_eq!(message(MAX_FRAGMENTS, size).unwrap().len(), 1);
            assert_eq!(message(MAX_FRAGMENTS + 1, size), Err(Fault::TooManyFragments));
        }
        assert_eq!(message(MAX_FRAGMENTS * 2, SENSIBLE_FRAGMENT).unwrap().len(), 1);
    }

    #[test]
    fn violations_end_with_the_right_code() {
        let unmasked = vec![0x81, 1, b'x'];
        let cases: [(Vec<u8>, Fault); 12] = [
            (unmasked, Fault::Protocol),
            (frame(0xc1, b"x"), Fault::Protocol),
            (frame(0x83, b"x"), Fault::Protocol),
            (frame(0x8b, b"x"), Fault::Protocol),
            (frame(0x80, b"x"), Fault::Protocol),
            ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), Fault::Protocol),
            (frame(0x09, b"x"), Fault::Protocol),
            (frame(0x89, [0; 126]), Fault::Protocol),
            (frame(0x88, [3]), Fault::Protocol),
            (frame(0x88, [3, 237]), Fault::Protocol),
            (frame(0x88, [3, 232, 0xff]), Fault::InvalidUtf8),
            (frame(0x81, [0xff]), Fault::InvalidUtf8),
        ];
        for (bytes, fault) in cases {
            assert_eq!(decode_all(bytes.clone(), 1000), Err(fault), "{bytes:?}");
        }
    }

    /// See RFC 6455, section 7.4, and the IANA registry.
    #[test]
    fn close_codes_are_those_that_may_be_sent() {
        let close = |code: u16| decode_all(frame(0x88, code.to_be_bytes()), 100);
        for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
            assert_eq!(close(code).unwrap(), [format!("close {:?}", Some(code))]);
        }
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            assert_eq!(close(code), Err(Fault::Protocol), "{code}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = decode_all(bytes, 1000);
        }

        #[test]
        fn text_survives_any_split_into_fragments(text: String, cuts: Vec<prop::sample::Index>) {
            let mut cuts: Vec<usize> = cuts.iter().take(4).map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let mut bytes = Vec::new();
            let mut at = 0;
            for (index, &cut) in cuts.iter().enumerate() {
                bytes.extend(frame(u8::from(index == 0), &text.as_bytes()[at..cut]));
                at = cut;
            }
            bytes.extend(frame(if cuts.is_empty() { 0x81 } else { 0x80 }, &text.as_bytes()[at..]));
            prop_assert_eq!(decode_all(bytes, 1 << 20).unwrap(), [format!("T:{text}")]);
        }
    }
}
