//! Outgoing messages. Each message is encoded once and shared by all recipients.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::{dialect::Revision, packet::BINARY_MESSAGE};
use crate::proto::{
    budget::{Budget, SharedCharge},
    deflate::Slot,
};

/// The length of the longest header of an unmasked WebSocket frame.
const WS_HEADER_MAX: usize = 10;
const OPCODE_TEXT: u8 = 0x1;
const OPCODE_BINARY: u8 = 0x2;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PONG: u8 = 0xa;
const FIN: u8 = 0x80;
/// The bit that marks a compressed message. See RFC 7692, section 6.
#[cfg(feature = "compression")]
const RSV1: u8 = 0x40;

/// A message to a client, encoded for every transport and cheap to clone.
///
/// A text message is stored in one buffer, `[WebSocket header][packet type][text]`. A WebSocket client
/// receives the whole buffer, and a polling client receives the part after the header. A binary message
/// shares the caller's [`Bytes`]. A broadcast encodes one frame and clones it for each recipient, without
/// copying or allocating.
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
    drop_group: DropGroup,
}

/// The content of a frame, shared by all clones. A queued frame is therefore little more than a pointer.
#[derive(Debug, Clone)]
struct Body {
    /// The header of a binary message, followed by the packet type in protocol 3. Unused if the header is
    /// part of `bytes`, as in text frames.
    head: [u8; WS_HEADER_MAX + 1],
    head_len: u8,
    /// The length of the header inside `bytes`.
    skip: u8,
    kind: Kind,
    bytes: Bytes,
    #[cfg_attr(not(feature = "compression"), expect(dead_code, reason = "nothing is ever there"))]
    compressed: Slot,
    /// `true` if the message is excluded from compression.
    uncompressed: bool,
    /// Set once the frame is queued for a client with a backlog.
    charge: SharedCharge,
}

/// The position of a frame in a group that is dropped as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DropGroup {
    /// The frame must not be dropped.
    None,
    /// The first frame of a droppable group.
    First,
    /// A later frame of a droppable group.
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    /// A control frame of the engine.
    Control,
    /// A binary message rewritten as base64 text. The cost of the frame is 0, because the cost of the binary
    /// message already counts as written.
    Rewritten,
}

impl Frame {
    /// The number of bytes that [`Frame::from_headroom`] needs before the text, for the longest WebSocket
    /// header and the packet type.
    pub const HEADROOM: usize = WS_HEADER_MAX + 1;

    /// Creates a frame from a text message.
    pub fn text(text: &str) -> Self {
        let mut buffer = vec![0; Self::HEADROOM];
        buffer.extend_from_slice(text.as_bytes());
        Self::from_headroom(&mut buffer, Self::HEADROOM)
    }

    /// Creates a frame from the text in `buffer[start..]`. The text is copied once, into an allocation of the
    /// exact size.
    ///
    /// The bytes before `start` are overwritten. The text must be valid UTF-8, because clients reject other
    /// text frames.
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

    /// Creates a frame whose bytes begin with the WebSocket header.
    fn new(kind: Kind, skip: u8, bytes: Bytes) -> Self {
        Self::of([0; WS_HEADER_MAX + 1], 0, skip, kind, bytes)
    }

    /// Creates a frame from raw bytes, such as an HTTP response that precedes all frames.
    pub(crate) fn raw(bytes: Vec<u8>) -> Self {
        Self::new(Kind::Control, 0, bytes.into())
    }

    /// Creates a frame from a binary message. The bytes are shared, not copied.
    pub fn binary(bytes: Bytes) -> Self {
        let (head, head_len) = header(OPCODE_BINARY, bytes.len());
        Self::of(head, head_len, 0, Kind::Binary, bytes)
    }

    fn of(head: [u8; WS_HEADER_MAX + 1], head_len: u8, skip: u8, kind: Kind, bytes: Bytes) -> Self {
        let (compressed, charge) = (Slot::default(), SharedCharge::default());
        let body = Body { head, head_len, skip, kind, bytes, compressed, uncompressed: false, charge };
        Self { body: Arc::new(body), drop_group: DropGroup::None }
    }

    /// Excludes the message from permessage-deflate. Use this for data that is already compressed, or whose
    /// compressed length would reveal its content. Equivalent to `compress: false` in Node.js.
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

    /// Creates the open packet, which is the first packet of a session.
    pub(crate) fn open(handshake: &str) -> Self {
        let mut buffer = Vec::with_capacity(Self::HEADROOM + handshake.len());
        buffer.resize(Self::HEADROOM, 0);
        buffer.extend_from_slice(handshake.as_bytes());
        Self::pack(Kind::Control, &mut buffer, Self::HEADROOM, b'0')
    }

    /// Creates a heartbeat: a ping, or in protocol 3 a pong.
    pub(crate) fn heartbeat(revision: Revision) -> Self {
        Self::framed(Bytes::from_static(match revision {
            Revision::V4 => b"\x81\x012",
            Revision::V3 => b"\x81\x013",
        }))
    }

    /// Creates the pong for a probe.
    pub(crate) fn probe_pong() -> Self {
        Self::framed(Bytes::from_static(b"\x81\x063probe"))
    }

    /// Creates a close frame, which is the last frame on a WebSocket.
    pub(crate) fn close(code: u16, reason: &str) -> Self {
        let mut bytes = Vec::with_capacity(4 + reason.len());
        bytes.extend([FIN | OPCODE_CLOSE, 2 + reason.len() as u8]);
        bytes.extend(code.to_be_bytes());
        bytes.extend(reason.as_bytes());
        Self::framed(bytes.into())
    }

    /// Creates the reply to a close frame, with the same code, if any.
    pub(crate) fn close_reply(code: Option<u16>) -> Self {
        code.map_or_else(|| Self::framed(Bytes::from_static(b"\x88\x00")), |code| Self::close(code, ""))
    }

    /// Creates a WebSocket pong.
    pub(crate) fn pong(payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(2 + payload.len());
        bytes.extend([FIN | OPCODE_PONG, payload.len() as u8]);
        bytes.extend(payload);
        Self::framed(bytes.into())
    }

    /// Creates a control frame whose bytes begin with a header of two bytes.
    fn framed(bytes: Bytes) -> Self {
        Self::new(Kind::Control, 2, bytes)
    }

    /// Returns the packet without WebSocket framing: type and text, or the bytes of a binary message.
    pub fn payload(&self) -> &[u8] {
        &self.body.bytes[usize::from(self.body.skip)..]
    }

    /// Returns `true` if this is a binary message.
    pub fn is_binary(&self) -> bool {
        self.body.kind == Kind::Binary
    }

    /// Returns `true` if this is a message of the application, not a control frame of the engine.
    pub(crate) fn is_message(&self) -> bool {
        self.body.kind != Kind::Control
    }

    /// Returns the two parts that form the frame on a WebSocket, in order.
    pub(crate) fn wire(&self) -> (&[u8], &[u8]) {
        (&self.body.head[..usize::from(self.body.head_len)], &self.body.bytes)
    }

    /// Returns the number of bytes that the frame counts against
    /// [`max_buffered`](crate::EngineConfig::max_buffered), the limit of a client's queue. The memory
    /// overhead of the frame is included. Control frames of the engine have a cost of 0.
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

    /// Returns the number of bytes that the frame would add to the server's budget.
    pub(crate) fn uncharged_cost(&self) -> usize {
        if self.body.charge.is_set() { 0 } else { self.cost() }
    }

    /// Charges the frame to the server's budget until its last clone is dropped.
    pub(crate) fn charge(&self, budget: &Arc<Budget>) {
        self.body.charge.set(budget, self.cost());
    }

    /// Returns the same message without its charge to the server's budget. Callers that keep messages outside
    /// the send queues limit the memory for these messages themselves.
    ///
    /// The bytes remain shared.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { body: Arc::new(Body::clone(&self.body)), drop_group: self.drop_group }
    }

    /// Rewrites a binary message for the WebSocket of a client with protocol 3 or without binary support.
    /// Does nothing to other frames.
    ///
    /// In protocol 3, the packet type is inserted before the bytes. The bytes remain shared, and the cost
    /// does not change. With `base64`, the message is copied into a new text frame with a cost of 0.
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

    /// Marks the frame as droppable. `first` selects whether the frame starts a group or belongs to the same
    /// group as the previous frame.
    pub(crate) fn droppable(mut self, first: bool) -> Self {
        self.drop_group = if first { DropGroup::First } else { DropGroup::Rest };
        self
    }

    /// Returns `true` if this is the first frame of a droppable group.
    pub(crate) fn starts_droppable(&self) -> bool {
        self.drop_group == DropGroup::First
    }

    pub(crate) fn is_droppable(&self) -> bool {
        self.drop_group != DropGroup::None
    }

    /// Returns `true` if this frame belongs to the same droppable group as the previous one.
    pub(crate) fn continues_group(&self) -> bool {
        self.drop_group == DropGroup::Rest
    }

    /// Returns the length of the frame on a WebSocket, in bytes.
    pub(crate) fn wire_len(&self) -> usize {
        usize::from(self.body.head_len) + self.body.bytes.len()
    }
}

#[cfg(feature = "compression")]
impl Frame {
    /// Returns `true` if the message may be compressed.
    pub(crate) fn is_compressible(&self) -> bool {
        self.is_message() && !self.body.uncompressed
    }

    /// Returns the cache of the compressed form, which all clones share.
    pub(crate) fn slot(&self) -> &Slot {
        &self.body.compressed
    }

    /// Returns the same message with the compressed payload `buffer[start..]`, which must follow at least
    /// [`Self::HEADROOM`] bytes.
    pub(crate) fn deflated(&self, buffer: &mut [u8], start: usize) -> Self {
        let opcode = if self.is_binary() { OPCODE_BINARY } else { OPCODE_TEXT };
        let (head, head_len) = header(RSV1 | opcode, buffer.len() - start);
        let first = start - usize::from(head_len);
        buffer[first..start].copy_from_slice(&head[..usize::from(head_len)]);
        let bytes = Bytes::copy_from_slice(&buffer[first..]);
        Self { drop_group: self.drop_group, ..Self::new(self.body.kind, head_len, bytes) }
    }
}

/// Encodes the header of an unmasked, unfragmented frame. See RFC 6455, section 5.2.
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
