//! An outgoing message, encoded once and shared by all its recipients.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::{dialect::Revision, packet::BINARY_MESSAGE};
use crate::proto::{
    budget::{Budget, SharedCharge},
    deflate::Slot,
};

/// The longest header of an unmasked WebSocket frame.
const WS_HEADER_MAX: usize = 10;
const OPCODE_TEXT: u8 = 0x1;
const OPCODE_BINARY: u8 = 0x2;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PONG: u8 = 0xa;
const FIN: u8 = 0x80;
/// This message is compressed: RFC 7692, section 6.
#[cfg(feature = "compression")]
const RSV1: u8 = 0x40;

/// A message to a client, ready to be written by any transport and cheap to clone.
///
/// A text message is kept as one buffer, `[WebSocket header][packet type][text]`: a WebSocket recipient gets
/// all of it, a polling recipient the part after the header. A binary message keeps the caller's [`Bytes`] as
/// they are. A broadcast makes one frame and clones it for each recipient, which copies and allocates nothing.
///
/// # Examples
///
/// ```
/// use engineio::Frame;
///
/// let frame = Frame::text("hello");
/// assert_eq!(frame.payload(), b"4hello");
/// ```
#[derive(Debug, Clone)]
pub struct Frame {
    body: Arc<Body>,
    place: Place,
}

/// What all clones of a frame share, so that one in a queue is no more than a pointer.
#[derive(Debug, Clone)]
struct Body {
    /// For text the header is part of `bytes`, for binary it stands in `head`, with the packet type if there is one.
    head: [u8; WS_HEADER_MAX + 1],
    head_len: u8,
    /// The length of the header inside `bytes`.
    skip: u8,
    kind: Kind,
    bytes: Bytes,
    #[cfg_attr(not(feature = "compression"), expect(dead_code, reason = "nothing is ever there"))]
    compressed: Slot,
    /// It stays as it is, whatever was agreed on.
    uncompressed: bool,
    /// Its place in the budget of the server, once it waits for a client with a backlog.
    charge: SharedCharge,
}

/// Where a frame stands among those that were sent together, in the queue of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It must not be dropped.
    Kept,
    /// The first of frames that may be dropped together.
    First,
    /// One of the others.
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    /// Sent by the engine itself.
    Control,
    /// A binary message that was rewritten as text for one older client; its cost has been given back.
    Rewritten,
}

impl Frame {
    /// The free space that [`Frame::from_headroom`] needs before the text: the longest WebSocket header and
    /// the packet type.
    pub const HEADROOM: usize = WS_HEADER_MAX + 1;

    /// Makes a frame of a text message.
    pub fn text(text: &str) -> Self {
        let mut buffer = vec![0; Self::HEADROOM];
        buffer.extend_from_slice(text.as_bytes());
        Self::from_headroom(&mut buffer, Self::HEADROOM)
    }

    /// Makes a frame of the text in `buffer[start..]`, with one copy into a block of exactly its size.
    ///
    /// The bytes before `start` are overwritten. Clients reject a text frame that is not UTF-8, so the caller
    /// must have written valid text.
    ///
    /// # Panics
    ///
    /// Panics if `start` is less than [`Frame::HEADROOM`] or beyond the end of the buffer.
    pub fn from_headroom(buffer: &mut [u8], start: usize) -> Self {
        Self::pack(Kind::Text, buffer, start, b'4')
    }

    fn pack(kind: Kind, buffer: &mut [u8], start: usize, packet_type: u8) -> Self {
        let packet = start - 1;
        buffer[packet] = packet_type;
        let (head, head_len) = header(OPCODE_TEXT, buffer.len() - packet);
        let first = packet - usize::from(head_len);
        buffer[first..packet].copy_from_slice(&head[..usize::from(head_len)]);
        Self::new(kind, head_len, Bytes::copy_from_slice(&buffer[first..]))
    }

    /// A frame whose bytes begin with their header.
    fn new(kind: Kind, skip: u8, bytes: Bytes) -> Self {
        Self::of([0; WS_HEADER_MAX + 1], 0, skip, kind, bytes)
    }

    /// Bytes of another protocol, which leave before any frame.
    pub(crate) fn raw(bytes: Vec<u8>) -> Self {
        Self::new(Kind::Control, 0, bytes.into())
    }

    /// Makes a frame of a binary message; the bytes are shared, not copied.
    pub fn binary(bytes: Bytes) -> Self {
        let (head, head_len) = header(OPCODE_BINARY, bytes.len());
        Self::of(head, head_len, 0, Kind::Binary, bytes)
    }

    fn of(head: [u8; WS_HEADER_MAX + 1], head_len: u8, skip: u8, kind: Kind, bytes: Bytes) -> Self {
        let (compressed, charge) = (Slot::default(), SharedCharge::default());
        let body = Body { head, head_len, skip, kind, bytes, compressed, uncompressed: false, charge };
        Self { body: Arc::new(body), place: Place::Kept }
    }

    /// The same message, which permessage-deflate leaves as it is: for what is compressed already, or must not betray
    /// by its length what is in it. Node: `compress: false`.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::Frame;
    ///
    /// let image = Frame::binary(vec![0xff, 0xd8, 0xff].into()).uncompressed();
    /// assert_eq!(image.payload(), [0xff, 0xd8, 0xff]);
    /// ```
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        Arc::make_mut(&mut self.body).uncompressed = true;
        self
    }

    /// The open packet, the first of a session.
    pub(crate) fn open(handshake: &str) -> Self {
        let mut buffer = Vec::with_capacity(Self::HEADROOM + handshake.len());
        buffer.resize(Self::HEADROOM, 0);
        buffer.extend_from_slice(handshake.as_bytes());
        Self::pack(Kind::Control, &mut buffer, Self::HEADROOM, b'0')
    }

    /// The heartbeat: a ping, or in protocol 3 the answer to one.
    pub(crate) fn heartbeat(revision: Revision) -> Self {
        Self::framed(Bytes::from_static(match revision {
            Revision::V4 => b"\x81\x012",
            Revision::V3 => b"\x81\x013",
        }))
    }

    /// The answer to a probe.
    pub(crate) fn probe_pong() -> Self {
        Self::framed(Bytes::from_static(b"\x81\x063probe"))
    }

    /// A close frame, the last one on a WebSocket.
    pub(crate) fn close(code: u16, reason: &str) -> Self {
        let mut bytes = Vec::with_capacity(4 + reason.len());
        bytes.extend([FIN | OPCODE_CLOSE, 2 + reason.len() as u8]);
        bytes.extend(code.to_be_bytes());
        bytes.extend(reason.as_bytes());
        Self::framed(bytes.into())
    }

    /// The answer to a close frame: the same code, or none.
    pub(crate) fn close_answer(code: Option<u16>) -> Self {
        code.map_or_else(|| Self::framed(Bytes::from_static(b"\x88\x00")), |code| Self::close(code, ""))
    }

    /// The answer to a WebSocket ping.
    pub(crate) fn pong(payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(2 + payload.len());
        bytes.extend([FIN | OPCODE_PONG, payload.len() as u8]);
        bytes.extend(payload);
        Self::framed(bytes.into())
    }

    /// A frame whose bytes begin with a header of two bytes.
    fn framed(bytes: Bytes) -> Self {
        Self::new(Kind::Control, 2, bytes)
    }

    /// The packet without WebSocket framing: type and text, or the bytes of a binary message.
    pub fn payload(&self) -> &[u8] {
        &self.body.bytes[usize::from(self.body.skip)..]
    }

    /// Whether this is a binary message.
    pub fn is_binary(&self) -> bool {
        self.body.kind == Kind::Binary
    }

    /// Whether this is a message of the application, not of the engine itself.
    pub(crate) fn is_message(&self) -> bool {
        self.body.kind != Kind::Control
    }

    /// The two halves that stand on a WebSocket, one after the other.
    pub(crate) fn wire(&self) -> (&[u8], &[u8]) {
        (&self.body.head[..usize::from(self.body.head_len)], &self.body.bytes)
    }

    /// What the frame counts against [`max_buffered`](field@crate::EngineConfig::max_buffered), the limit of what may
    /// wait for a client: its bytes, and what it takes beside them. Frames of the engine itself are few and count
    /// nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::Frame;
    ///
    /// assert!(Frame::text("hello").cost() > "hello".len());
    /// ```
    pub fn cost(&self) -> usize {
        if matches!(self.body.kind, Kind::Control | Kind::Rewritten) {
            0
        } else {
            self.body.bytes.len() + size_of::<Self>() + size_of::<Body>()
        }
    }

    /// What the frame would add to the budget of the server.
    pub(crate) fn uncharged(&self) -> usize {
        if self.body.charge.is_set() { 0 } else { self.cost() }
    }

    /// Counts the frame in the budget of the server until its last clone is gone.
    pub(crate) fn charge(&self, budget: &Arc<Budget>) {
        self.body.charge.set(budget, self.cost());
    }

    /// The same message, counted apart: for somebody who keeps it beyond the queues, within a limit of its own.
    ///
    /// The bytes stay shared.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { body: Arc::new(Body::clone(&self.body)), place: self.place }
    }

    /// Rewrites a binary message as the WebSocket of an older client wants it; all else stays as it is.
    ///
    /// In protocol 3 the type stands before the bytes, which stay shared; what the frame costs stays the same. As
    /// base64 it is a frame of its own that costs nothing.
    pub(crate) fn rewrite(&mut self, revision: Revision, base64: bool) {
        if !self.is_binary() {
            return;
        }
        if base64 {
            let mut buffer = vec![0; Self::HEADROOM];
            if revision == Revision::V3 {
                buffer.push(b'0' + BINARY_MESSAGE);
            }
            buffer.extend_from_slice(BASE64_STANDARD.encode(&self.body.bytes).as_bytes());
            *self = Self::pack(Kind::Rewritten, &mut buffer, Self::HEADROOM, b'b');
        } else if revision == Revision::V3 {
            let body = Arc::make_mut(&mut self.body);
            let (head, head_len) = header(OPCODE_BINARY, 1 + body.bytes.len());
            body.head = head;
            body.head[usize::from(head_len)] = BINARY_MESSAGE;
            body.head_len = head_len + 1;
        }
    }

    /// The same frame, which may be dropped: together with those that were sent with the `first` one.
    pub(crate) fn droppable(mut self, first: bool) -> Self {
        self.place = if first { Place::First } else { Place::Rest };
        self
    }

    /// Whether this is the first of frames that may be dropped together.
    pub(crate) fn starts_droppable(&self) -> bool {
        self.place == Place::First
    }

    pub(crate) fn is_droppable(&self) -> bool {
        self.place != Place::Kept
    }

    /// Whether this frame must go or stay with the one before.
    pub(crate) fn belongs_to_previous(&self) -> bool {
        self.place == Place::Rest
    }

    /// The number of bytes on a WebSocket.
    pub(crate) fn wire_len(&self) -> usize {
        usize::from(self.body.head_len) + self.body.bytes.len()
    }
}

#[cfg(feature = "compression")]
impl Frame {
    /// Whether the message may be compressed.
    pub(crate) fn is_compressible(&self) -> bool {
        self.is_message() && !self.body.uncompressed
    }

    /// The place for the compressed form, which all clones share.
    pub(crate) fn slot(&self) -> &Slot {
        &self.body.compressed
    }

    /// The same message with a payload that is compressed: `buffer[start..]`, behind at least [`Self::HEADROOM`].
    pub(crate) fn deflated(&self, buffer: &mut [u8], start: usize) -> Self {
        let opcode = if self.is_binary() { OPCODE_BINARY } else { OPCODE_TEXT };
        let (head, head_len) = header(RSV1 | opcode, buffer.len() - start);
        let first = start - usize::from(head_len);
        buffer[first..start].copy_from_slice(&head[..usize::from(head_len)]);
        let bytes = Bytes::copy_from_slice(&buffer[first..]);
        Self { place: self.place, ..Self::new(self.body.kind, head_len, bytes) }
    }
}

/// The header of an unmasked, unfragmented frame: RFC 6455, section 5.2.
fn header(opcode: u8, len: usize) -> ([u8; WS_HEADER_MAX + 1], u8) {
    let mut head = [0; WS_HEADER_MAX + 1];
    head[0] = FIN | opcode;
    let head_len = match len {
        0..=125 => {
            head[1] = len as u8;
            2
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    (head, head_len)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

    use super::*;

    #[test]
    fn headers_agree_with_tungstenite_at_every_length_class() {
        for len in [0, 1, 124, 125, 126, 127, 65_535, 65_536, 70_000] {
            let text = Frame::text(&"x".repeat(len));
            let (head, bytes) = text.wire();
            assert!(head.is_empty());
            let mut cursor = Cursor::new(bytes);
            let (header, announced) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert!(header.is_final);
            assert_eq!(announced, len as u64 + 1);
            assert_eq!(&bytes[cursor.position() as usize..], text.payload());

            let binary = Frame::binary(vec![7; len].into());
            let (head, bytes) = binary.wire();
            let (_, announced) = FrameHeader::parse(&mut Cursor::new(head)).unwrap().unwrap();
            assert_eq!(announced as usize, bytes.len());
        }
    }

    #[test]
    fn protocol_3_gets_the_type_before_the_same_bytes() {
        for len in [0, 1, 124, 125, 126, 65_534, 65_535, 65_536] {
            let binary = Frame::binary(vec![7; len].into());
            let mut typed = binary.clone();
            typed.rewrite(Revision::V3, false);
            let (head, bytes) = typed.wire();
            let mut cursor = Cursor::new(head);
            let (_, announced) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert_eq!(announced as usize, 1 + len);
            assert_eq!(&head[cursor.position() as usize..], [4]);
            assert_eq!(bytes.as_ptr(), binary.payload().as_ptr(), "shared");
            assert_eq!(typed.cost(), binary.cost());
            assert_eq!(typed.wire_len(), head.len() + len);
        }
        let mut text = Frame::text("a");
        text.rewrite(Revision::V3, false);
        assert_eq!(text.wire(), Frame::text("a").wire());
    }

    #[test]
    fn a_client_that_reads_no_bytes_gets_base64() {
        for (revision, wire) in [(Revision::V3, b"\x81\x06b4AQID"), (Revision::V4, b"\x81\x05bAQID\0")] {
            let mut frame = Frame::binary(Bytes::from_static(&[1, 2, 3]));
            frame.rewrite(revision, true);
            let (head, bytes) = frame.wire();
            assert_eq!((head, bytes), (&[][..], wire.strip_suffix(b"\0").unwrap_or(wire)));
            assert_eq!(frame.cost(), 0);
        }
    }

    #[test]
    fn control_frames_are_what_the_protocol_says() {
        assert_eq!(Frame::heartbeat(Revision::V4).wire().1, b"\x81\x012");
        assert_eq!(Frame::heartbeat(Revision::V3).wire().1, b"\x81\x013");
        assert_eq!(Frame::probe_pong().wire().1, b"\x81\x063probe");
        assert_eq!(Frame::open("{}").wire().1, b"\x81\x030{}");
        assert_eq!(Frame::pong(b"x").wire().1, b"\x8a\x01x");
        assert_eq!(Frame::close(1001, "bye").wire().1, b"\x88\x05\x03\xe9bye");
    }
}
