//! Encodes packets into frames. Each packet is encoded once, in a thread-local buffer, and its frames are
//! shared by all recipients.

use std::{cell::Cell, io::Write as _};

use bytes::Bytes;
use engineio::Frame;
use serde::ser::Error as _;

use super::{
    args::ToArgs,
    packet::Kind,
    parser::{self, Packet, Parser},
    sealed::Sealed,
};

/// The maximum length of a header without its namespace. It includes the type, the attachment count, the id
/// and the punctuation.
const HEADER_MAX: usize = 32;
/// The maximum capacity of the thread-local buffer. A larger buffer is freed, so that a large packet does not
/// occupy memory permanently.
const KEEP: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The frames of one packet. The text is first, followed by the attachments.
#[derive(Debug, Clone)]
pub(crate) enum Frames {
    One([Frame; 1]),
    Many(Vec<Frame>),
    /// An event in the encoding of a custom parser for the clients, and in the encoding of the protocol for
    /// observers and other servers.
    Translated {
        plain: Box<Self>,
        wire: Vec<Frame>,
    },
}

impl Frames {
    /// Returns the number of bytes of the packet in the protocol's own encoding.
    pub(crate) fn payload_len(&self) -> usize {
        self.plain().iter().map(|frame| frame.payload().len()).sum()
    }

    /// Returns the frames for the clients.
    pub(crate) fn as_slice(&self) -> &[Frame] {
        match self {
            Self::One(frame) => frame,
            Self::Many(frames) | Self::Translated { wire: frames, .. } => frames,
        }
    }

    /// Returns the event in the encoding of the protocol.
    pub(crate) fn into_plain(self) -> Self {
        match self {
            Self::Translated { plain, .. } => *plain,
            plain => plain,
        }
    }

    /// Returns the frames of the event in the encoding of the protocol.
    pub(crate) fn plain(&self) -> &[Frame] {
        match self {
            Self::Translated { plain, .. } => plain.plain(),
            plain => plain.as_slice(),
        }
    }

    /// Returns the JSON text and the attachments of an event, or of an acknowledgement in the encoding of the
    /// protocol. `namespace` must be the namespace that the packet was encoded for.
    pub(crate) fn parts(&self, namespace: &str) -> (&str, Vec<Bytes>) {
        let plain = self.plain();
        let mut frames = plain.iter();
        let packet = frames.next().map_or(&[][..], Frame::payload);
        // `serde_json` writes UTF-8. The text starts with the Engine.IO message type and the packet type.
        let text = std::str::from_utf8(packet).unwrap_or_default();
        let mut rest = text.get(2..).unwrap_or_default();
        if plain.len() > 1 {
            rest = rest.split_once('-').map_or("", |(_, rest)| rest);
        }
        if namespace != "/" {
            rest = rest.get(namespace.len() + 1..).unwrap_or_default();
        }
        let json = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        (json, frames.map(|frame| Bytes::copy_from_slice(frame.payload())).collect())
    }

    /// Returns the event in the encoding of the protocol with the given acknowledgement id.
    pub(crate) fn with_id(&self, namespace: &str, id: u64) -> Self {
        let attachments = self.plain().get(1..).unwrap_or_default();
        Self::event(namespace, Some(id), self.parts(namespace).0, attachments.iter().cloned())
    }

    /// Returns the event with an additional argument, which is a text without characters that must be escaped.
    pub(crate) fn with_argument(&self, namespace: &str, argument: &str) -> Self {
        let data = self.parts(namespace).0;
        let data = format!(r#"{},"{argument}"]"#, data.strip_suffix(']').unwrap_or(data));
        let attachments = self.plain().get(1..).unwrap_or_default();
        Self::event(namespace, None, &data, attachments.iter().cloned())
    }

    /// Encodes an event whose JSON text, the array of its name and arguments, is appended to a buffer. Returns `None` if
    /// `write` does.
    #[cfg(feature = "msgpack")]
    pub(crate) fn written_event(
        namespace: &str,
        write: impl FnOnce(Vec<u8>, usize) -> Option<(Vec<u8>, Vec<Bytes>)>,
    ) -> Option<Self> {
        let mut buffer = BUFFER.take();
        let json = Frame::HEADROOM + HEADER_MAX + namespace.len();
        buffer.resize(json, 0);
        let (mut buffer, attachments) = write(buffer, json)?;
        let carrier = Carrier::Event { name: "", id: None };
        let start = write_header(&mut buffer, json, namespace, carrier, attachments.len());
        let text = Frame::from_headroom(&mut buffer, start);
        if buffer.capacity() <= KEEP {
            BUFFER.set(buffer);
        }
        Some(Self::of(text, attachments.into_iter().map(Frame::binary)))
    }

    fn of(text: Frame, attachments: impl ExactSizeIterator<Item = Frame>) -> Self {
        if attachments.len() == 0 {
            return Self::One([text]);
        }
        Self::Many(std::iter::once(text).chain(attachments).collect())
    }

    /// Encodes an event from the JSON text of the array of its name and arguments.
    pub(crate) fn event(
        namespace: &str,
        id: Option<u64>,
        data: &str,
        attachments: impl ExactSizeIterator<Item = Frame>,
    ) -> Self {
        let json = Frame::HEADROOM + HEADER_MAX + namespace.len();
        let mut buffer = Vec::with_capacity(json + data.len());
        buffer.resize(json, 0);
        buffer.extend_from_slice(data.as_bytes());
        let carrier = Carrier::Event { name: "", id };
        let start = write_header(&mut buffer, json, namespace, carrier, attachments.len());
        Self::of(Frame::from_headroom(&mut buffer, start), attachments)
    }
}

impl Frames {
    fn with_wire(self, wire: Option<Vec<Frame>>) -> Self {
        match wire {
            Some(wire) => Self::Translated { plain: Box::new(self), wire },
            None => self,
        }
    }

    /// Returns a copy of the packet that may be kept longer than the queues of the sessions.
    pub(crate) fn detached(&self) -> Self {
        let detach = |frames: &[Frame]| frames.iter().map(Frame::detached).collect();
        match self {
            Self::One([frame]) => Self::One([frame.detached()]),
            Self::Many(frames) => Self::Many(detach(frames)),
            Self::Translated { plain, wire } => {
                Self::Translated { plain: Box::new(plain.detached()), wire: detach(wire) }
            }
        }
    }

    /// Disables compression for the packet.
    pub(crate) fn uncompressed(self) -> Self {
        match self {
            Self::One([frame]) => Self::One([frame.uncompressed()]),
            Self::Many(frames) => Self::Many(frames.into_iter().map(Frame::uncompressed).collect()),
            Self::Translated { plain, wire } => {
                Self::Translated { plain, wire: wire.into_iter().map(Frame::uncompressed).collect() }
            }
        }
    }
}

/// The kind of the packet that contains the arguments, which is an event or an acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Carrier<'a> {
    Event { name: &'a str, id: Option<u64> },
    Ack { id: u64 },
}

impl From<Frame> for Frames {
    fn from(frame: Frame) -> Self {
        Self::One([frame])
    }
}

/// An encoder for the packets of one namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoder<'a> {
    pub(crate) namespace: &'a str,
    /// The custom parser. `None` selects the encoding of the protocol.
    pub(crate) parser: Option<&'a dyn Parser>,
}

impl<'a> Encoder<'a> {
    /// Returns an encoder that uses the encoding of the protocol. The result is used for observers and other
    /// servers.
    pub(crate) fn plain(namespace: &'a str) -> Self {
        Self { namespace, parser: None }
    }
}

impl Encoder<'_> {
    /// Encodes an event or an acknowledgement.
    pub(crate) fn args<T: ToArgs + ?Sized>(
        self,
        carrier: Carrier<'_>,
        args: &T,
    ) -> Result<Frames, serde_json::Error> {
        // Move the buffer out of the thread-local, because `Serialize` is user code and may emit events.
        let mut buffer = BUFFER.take();
        let frames = self.write(&mut buffer, carrier, args);
        if buffer.capacity() <= KEEP {
            BUFFER.set(buffer);
        }
        frames
    }

    fn write<T: ToArgs + ?Sized>(
        self,
        buffer: &mut Vec<u8>,
        carrier: Carrier<'_>,
        args: &T,
    ) -> Result<Frames, serde_json::Error> {
        // The header depends on the number of attachments, which is known only after serialization.
        // Therefore, space for the longest header is reserved, and the header is written after the JSON. The
        // bytes of the previous packet in this space are not cleared, because only what is written is sent.
        let json = Frame::HEADROOM + HEADER_MAX + self.namespace.len();
        buffer.resize(json, 0);
        buffer.push(b'[');
        if let Carrier::Event { name, .. } = carrier {
            serde_json::to_writer(&mut *buffer, name)?;
            buffer.push(b',');
        }
        let first = buffer.len();
        let mut attachments = Vec::new();
        args.write(buffer, &mut attachments, Sealed)?;
        if buffer.len() == first && matches!(carrier, Carrier::Event { .. }) {
            // There are no arguments, so remove the comma after the name.
            buffer.pop();
        }
        buffer.push(b']');
        let parse = |parser, kind, id| self.parse(parser, kind, id, &buffer[json..], &attachments);
        let wire = match (self.parser, carrier) {
            (None, _) => None,
            (Some(parser), Carrier::Event { id, .. }) => Some(parse(parser, Kind::Event, id)?),
            // Acknowledgements are sent only to a client, so the encoding of the protocol is not needed.
            (Some(parser), Carrier::Ack { id }) => {
                return parse(parser, Kind::Ack, Some(id)).map(Frames::Many);
            }
        };
        let start = write_header(buffer, json, self.namespace, carrier, attachments.len());
        let text = Frame::from_headroom(buffer, start);
        let plain = if attachments.is_empty() {
            text.into()
        } else {
            let mut frames = Vec::with_capacity(1 + attachments.len());
            frames.push(text);
            frames.extend(attachments.into_iter().map(Frame::binary));
            Frames::Many(frames)
        };
        Ok(plain.with_wire(wire))
    }

    /// Encodes an event of another server with the custom parser. Returns the event unchanged if there is no
    /// custom parser.
    pub(crate) fn translate(self, plain: Frames, id: Option<u64>) -> Result<Frames, serde_json::Error> {
        let Some(parser) = self.parser else { return Ok(plain) };
        let (json, attachments) = plain.parts(self.namespace);
        let wire = self.parse(parser, Kind::Event, id, json.as_bytes(), &attachments)?;
        Ok(plain.with_wire(Some(wire)))
    }

    /// Encodes the CONNECT packet of a client. `auth` must be JSON or empty.
    #[cfg(feature = "testing")]
    pub(crate) fn ask(self, auth: &str) -> Result<Frames, serde_json::Error> {
        self.control(Kind::Connect, |text| text.extend_from_slice(auth.as_bytes()))
    }

    /// Encodes the response to a CONNECT packet.
    pub(crate) fn connect(self, sid: &str, pid: Option<&str>) -> Result<Frames, serde_json::Error> {
        self.control(Kind::Connect, |text| {
            // Ids consist of letters, digits, `-` and `_`, so no escapes are needed.
            let _ = match pid {
                Some(pid) => write!(text, r#"{{"sid":"{sid}","pid":"{pid}"}}"#),
                None => write!(text, r#"{{"sid":"{sid}"}}"#),
            };
        })
    }

    /// Encodes the refusal of a CONNECT packet.
    pub(crate) fn connect_error(
        self,
        message: &str,
        data: Option<&serde_json::Value>,
    ) -> Result<Frames, serde_json::Error> {
        self.control(Kind::ConnectError, |text| {
            // Serializing strings and values and writing to a vector cannot fail.
            let _ = write!(text, "{{\"message\":");
            let _ = serde_json::to_writer(&mut *text, message);
            if let Some(data) = data {
                let _ = write!(text, ",\"data\":");
                let _ = serde_json::to_writer(&mut *text, data);
            }
            text.push(b'}');
        })
    }

    /// Encodes the response to a CONNECT packet for revision 4 of the protocol. The response contains no id,
    /// because these clients compute their ids themselves.
    pub(crate) fn connect_legacy(self) -> Result<Frames, serde_json::Error> {
        self.control(Kind::Connect, |_| {})
    }

    /// Encodes the refusal of a CONNECT packet for revision 4 of the protocol. The payload is `data` if
    /// present, and `message` otherwise.
    pub(crate) fn connect_error_legacy(
        self,
        message: &str,
        data: Option<&serde_json::Value>,
    ) -> Result<Frames, serde_json::Error> {
        self.control(Kind::ConnectError, |text| {
            // Serializing strings and values cannot fail.
            let _ = match data {
                Some(data) => serde_json::to_writer(text, data),
                None => serde_json::to_writer(text, message),
            };
        })
    }

    /// Encodes a DISCONNECT packet.
    pub(crate) fn disconnect(self) -> Result<Frames, serde_json::Error> {
        self.control(Kind::Disconnect, |_| {})
    }

    fn control(self, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) -> Result<Frames, serde_json::Error> {
        if let Some(parser) = self.parser {
            let mut json = Vec::new();
            payload(&mut json);
            return self.parse(parser, kind, None, &json, &[]).map(Frames::Many).inspect_err(|error| {
                engineio::__log!(warn, ?kind, %error, "the parser cannot encode what the protocol needs");
            });
        }
        // Most payloads contain only an id.
        let mut text = Vec::with_capacity(Frame::HEADROOM + 64);
        text.resize(Frame::HEADROOM, 0);
        text.push(match kind {
            Kind::Connect => b'0',
            Kind::Disconnect => b'1',
            Kind::Event => b'2',
            Kind::Ack => b'3',
            Kind::ConnectError => b'4',
        });
        if self.namespace != "/" {
            text.extend_from_slice(self.namespace.as_bytes());
            text.push(b',');
        }
        payload(&mut text);
        Ok(Frame::from_headroom(&mut text, Frame::HEADROOM).into())
    }

    /// Encodes a JSON payload with a custom parser.
    fn parse(
        self,
        parser: &dyn Parser,
        kind: Kind,
        id: Option<u64>,
        json: &[u8],
        attachments: &[Bytes],
    ) -> Result<Vec<Frame>, serde_json::Error> {
        let payload = std::str::from_utf8(json).map_err(serde_json::Error::custom)?;
        let packet = Packet::new(kind, self.namespace, id, payload).attachments(attachments);
        parser::encode(parser, &packet).map_err(serde_json::Error::custom)
    }
}

/// Writes the header so that it ends at the index `json`. Returns the start of the header.
fn write_header(
    buffer: &mut [u8],
    json: usize,
    namespace: &str,
    carrier: Carrier<'_>,
    attachments: usize,
) -> usize {
    let (text, binary, id) = match carrier {
        Carrier::Event { id, .. } => (b'2', b'5', id),
        Carrier::Ack { id } => (b'3', b'6', Some(id)),
    };
    let mut at = json;
    if let Some(id) = id {
        at = write_number(buffer, at, id);
    }
    if namespace != "/" {
        at -= namespace.len() + 1;
        buffer[at..at + namespace.len()].copy_from_slice(namespace.as_bytes());
        buffer[at + namespace.len()] = b',';
    }
    if attachments > 0 {
        at -= 1;
        buffer[at] = b'-';
        at = write_number(buffer, at, attachments as u64);
    }
    at -= 1;
    buffer[at] = if attachments > 0 { binary } else { text };
    at
}

/// Writes decimal digits so that they end at the index `end`. Returns the start of the digits.
fn write_number(buffer: &mut [u8], end: usize, mut number: u64) -> usize {
    let mut at = end;
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_bytes::ByteBuf;

    use super::*;

    fn text<T: ToArgs + ?Sized>(namespace: &str, carrier: Carrier<'_>, value: &T) -> Vec<String> {
        let frames = Encoder::plain(namespace).args(carrier, value).unwrap();
        frames.as_slice().iter().map(|frame| String::from_utf8_lossy(frame.payload()).into_owned()).collect()
    }

    fn event(name: &str) -> Carrier<'_> {
        Carrier::Event { name, id: None }
    }

    #[derive(Serialize)]
    struct Said<'a> {
        text: &'a str,
        file: ByteBuf,
    }

    #[test]
    fn the_argument_rule() {
        assert_eq!(text("/", event("a"), &()), [r#"42["a"]"#]);
        assert_eq!(text("/", event("a"), &1), [r#"42["a",1]"#]);
        assert_eq!(text("/", event("a"), "é\""), [r#"42["a","é\""]"#]);
        assert_eq!(text("/", event("a"), &(1, "b")), [r#"42["a",1,"b"]"#]);
        assert_eq!(text("/", event("a"), &vec![1, 2]), [r#"42["a",[1,2]]"#]);
        assert_eq!(text("/", event("a"), &((1, 2),)), [r#"42["a",[1,2]]"#]);
        assert_eq!(text("/", event("a"), &None::<u8>), [r#"42["a",null]"#]);
        assert_eq!(text("/", event("a"), &serde_json::json!({"b": null})), [r#"42["a",{"b":null}]"#]);
        assert_eq!(text("/", event("a"), &f64::NAN), [r#"42["a",null]"#]);
    }

    #[test]
    fn headers() {
        assert_eq!(text("/n", event("a"), &()), [r#"42/n,["a"]"#]);
        assert_eq!(text("/", Carrier::Event { name: "a", id: Some(0) }, &()), [r#"420["a"]"#]);
        assert_eq!(
            text("/n", Carrier::Event { name: "a", id: Some(u64::MAX) }, &()),
            [r#"42/n,18446744073709551615["a"]"#]
        );
        assert_eq!(text("/", Carrier::Ack { id: 12 }, &()), ["4312[]"]);
        assert_eq!(text("/n", Carrier::Ack { id: 13 }, &("x", 1)), [r#"43/n,13["x",1]"#]);
    }

    #[test]
    fn bytes_become_attachments_at_any_depth() {
        let said = Said { text: "t", file: ByteBuf::from(b"abc") };
        assert_eq!(
            text("/n", Carrier::Event { name: "x", id: Some(7) }, &(said, ByteBuf::from(b"d"))),
            [
                r#"452-/n,7["x",{"text":"t","file":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]"#,
                "abc",
                "d"
            ]
        );
        assert_eq!(
            text("/", Carrier::Ack { id: 15 }, &ByteBuf::from(b"z")),
            [r#"461-15[{"_placeholder":true,"num":0}]"#, "z"]
        );
    }

    #[test]
    fn parts_and_another_id() {
        let file = ByteBuf::from(b"abc");
        for namespace in ["/", "/n", "/7[-"] {
            for id in [None, Some(0), Some(u64::MAX)] {
                let carrier = Carrier::Event { name: "1-[", id };
                let plain = Encoder::plain(namespace).args(carrier, &2).unwrap();
                assert_eq!(plain.parts(namespace), (r#"["1-[",2]"#, vec![]));
                let binary = Encoder::plain(namespace).args(carrier, &file).unwrap();
                let (json, attachments) = binary.parts(namespace);
                assert_eq!(json, r#"["1-[",{"_placeholder":true,"num":0}]"#);
                assert_eq!(attachments, ["abc"]);
                for frames in [plain, binary] {
                    let other = frames.with_id(namespace, 12);
                    assert_eq!(other.parts(namespace), frames.parts(namespace));
                    let header = String::from_utf8_lossy(other.as_slice()[0].payload()).into_owned();
                    assert!(header.contains(r#"12["1-[","#), "{header}");
                }
            }
        }
    }

    #[test]
    fn a_key_that_looks_like_a_placeholder_is_none() {
        let value = serde_json::json!({ "_placeholder": true, "num": 0 });
        assert_eq!(
            text("/", event("x"), &(value, ByteBuf::from(b"a"))),
            [r#"451-["x",{"\u005fplaceholder":true,"num":0},{"_placeholder":true,"num":0}]"#, "a"]
        );
    }

    #[test]
    fn control_packets() {
        let payload = |frames: Result<Frames, serde_json::Error>| {
            String::from_utf8(frames.unwrap().as_slice()[0].payload().to_vec()).unwrap()
        };
        assert_eq!(payload(Encoder::plain("/").connect("abc", None)), r#"40{"sid":"abc"}"#);
        assert_eq!(payload(Encoder::plain("/n").connect("abc", None)), r#"40/n,{"sid":"abc"}"#);
        assert_eq!(payload(Encoder::plain("/").connect("abc", Some("d"))), r#"40{"sid":"abc","pid":"d"}"#);
        assert_eq!(payload(Encoder::plain("/").disconnect()), "41");
        assert_eq!(payload(Encoder::plain("/n").disconnect()), "41/n,");
        assert_eq!(payload(Encoder::plain("/n").connect_error("no\"", None)), r#"44/n,{"message":"no\""}"#);
        assert_eq!(payload(Encoder::plain("/").connect_legacy()), "40");
        assert_eq!(payload(Encoder::plain("/n").connect_legacy()), "40/n,");
        assert_eq!(payload(Encoder::plain("/").connect_error_legacy("no", None)), "44\"no\"");
        let data = serde_json::json!({"code": 1});
        assert_eq!(
            payload(Encoder::plain("/n").connect_error_legacy("no", Some(&data))),
            r#"44/n,{"code":1}"#
        );
        assert_eq!(
            payload(Encoder::plain("/").connect_error("no", Some(&data))),
            r#"44{"message":"no","data":{"code":1}}"#
        );
    }
}
