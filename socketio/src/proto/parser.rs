//! The seam for other encodings of packets: a parser beside the JSON of the protocol itself.

use std::{
    borrow::Cow,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use engineio::{Frame, Message};

use super::json::MAX_DEPTH;
pub use super::packet::Kind as PacketKind;

/// Another encoding of packets, which all clients of the server use too. Node: `parser`.
///
/// It translates at the edge of the server: handlers and broadcasts are the same with any. A broadcast is encoded once
/// for all its recipients. With [connection state recovery](crate::ConnectionStateRecovery) an event is encoded once more,
/// with its offset, while others of its namespace wait for their turn: then a parser must not emit.
///
/// # Examples
///
/// Packets as four lines of text, for clients that know of it:
///
/// ```
/// use std::sync::Arc;
/// use socketio::{
///     Decoder, Frame, ParserLimits, Message, Packet, PacketKind, ParseError, Parser, Server, ServerConfig,
/// };
///
/// /// The namespace, the kind, the id and the payload, one on each line.
/// #[derive(Debug)]
/// struct Lines;
///
/// impl Parser for Lines {
///     fn encode(&self, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError> {
///         if !packet.attachments.is_empty() {
///             return Err(ParseError::new("no binary data"));
///         }
///         let id = packet.id.map(|id| id.to_string()).unwrap_or_default();
///         let text = format!("{}\n{:?}\n{id}\n{}", packet.namespace, packet.kind, packet.payload);
///         Ok(vec![Frame::text(&text)])
///     }
///
///     fn decoder(&self, _: ParserLimits) -> Box<dyn Decoder> {
///         Box::new(LinesDecoder)
///     }
/// }
///
/// struct LinesDecoder;
///
/// impl Decoder for LinesDecoder {
///     fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError> {
///         let Message::Text(text) = message else { return Err(ParseError::new("not text")) };
///         let lines: Vec<&str> = text.splitn(4, '\n').collect();
///         let [namespace, kind, id, payload] = lines[..] else { return Err(ParseError::new("too short")) };
///         let kind = match kind {
///             "Connect" => PacketKind::Connect,
///             "Disconnect" => PacketKind::Disconnect,
///             "Event" => PacketKind::Event,
///             "Ack" => PacketKind::Ack,
///             _ => return Err(ParseError::new("unknown kind")),
///         };
///         let packet = Packet::new(kind, namespace.to_owned(), id.parse().ok(), payload.to_owned());
///         Ok(Some(packet))
///     }
/// }
///
/// let io = Server::with_config(ServerConfig::default().parser(Arc::new(Lines) as Arc<dyn Parser>));
/// ```
pub trait Parser: fmt::Debug + Send + Sync + 'static {
    /// Encodes a packet into the messages that carry it, in order: one at least. They count against
    /// [`max_buffered`](field@crate::EngineConfig::max_buffered) and against the limits of connection state recovery with
    /// all their bytes, so one that is too long harms no more than any long event does.
    ///
    /// # Errors
    ///
    /// Returns an error if the format cannot carry the packet: nothing is sent then, and the caller of `emit` hears of
    /// it as [`EmitError::Encode`](crate::EmitError::Encode).
    fn encode(&self, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError>;

    /// Makes what decodes the messages of one connection.
    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decoder>;
}

/// Decodes the messages of one connection: made by a [`Parser`].
pub trait Decoder: Send {
    /// Takes the next message; `None` if more are needed for the packet.
    ///
    /// What a packet holds is checked afterwards: that the payload is JSON of bounded depth and fits the kind, that
    /// placeholders have their attachments and no two the same, and that the event has a name which clients may use. How large it is nobody
    /// else can bound: a message is within [`ParserLimits::max_bytes`], and a format that says much in few bytes needs a limit
    /// of its own.
    ///
    /// # Errors
    ///
    /// Returns an error if the client has broken the format: its connection is closed.
    fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError>;
}

/// The decoder of one connection. One that panics ends the connection, as an error does.
pub(crate) struct Decoding(Option<Box<dyn Decoder>>);

impl Decoding {
    pub(crate) fn new(parser: &dyn Parser, limits: ParserLimits) -> Self {
        Self(guarded(|| parser.decoder(limits)).ok())
    }

    pub(crate) fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError> {
        let decoder = self.0.as_mut().ok_or(PANICKED)?;
        guarded(|| decoder.decode(message))?
    }
}

/// Lets a parser encode. One that panics fails.
pub(crate) fn encode(parser: &dyn Parser, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError> {
    let frames = guarded(|| parser.encode(packet))??;
    // Nobody would hear of a packet that is no message.
    if frames.is_empty() { Err(ParseError::new("the parser made no message")) } else { Ok(frames) }
}

fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, ParseError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| {
        engineio::__log!(error, "the parser panicked");
        PANICKED
    })
}

const PANICKED: ParseError = ParseError::new("the parser panicked");

/// What a [`Decoder`] must not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParserLimits {
    /// The most bytes of one packet, where it is made of several messages:
    /// [`max_http_buffer_size`](field@crate::EngineConfig::max_http_buffer_size), which each message is within.
    pub max_bytes: usize,
    /// The deepest nesting of arrays and objects in a payload:
    /// [`max_json_depth`](field@crate::ServerConfig::max_json_depth).
    pub max_depth: usize,
}

/// A packet on its way through a [`Parser`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// What it is about.
    pub kind: PacketKind,
    /// The namespace, `/` by default.
    pub namespace: Cow<'a, str>,
    /// The id of the acknowledgement that is asked for, or that it is.
    pub id: Option<u64>,
    /// JSON text: an array for an event, with its name first, and for an acknowledgement; an object or nothing for a
    /// CONNECT; any value for a refusal; nothing for a DISCONNECT. An attachment is written as
    /// `{"_placeholder":true,"num":0}`. A key that is spelled with an escape, as `"\u005fplaceholder"`, makes none.
    pub payload: Cow<'a, str>,
    /// The attachments that the placeholders refer to by number. If there is none, nothing is a placeholder.
    pub attachments: Cow<'a, [Bytes]>,
}

impl Default for ParserLimits {
    /// The limits of a server with the default options.
    fn default() -> Self {
        Self { max_bytes: 1_000_000, max_depth: MAX_DEPTH }
    }
}

impl<'a> Packet<'a> {
    /// Makes a packet without attachments.
    pub fn new(
        kind: PacketKind,
        namespace: impl Into<Cow<'a, str>>,
        id: Option<u64>,
        payload: impl Into<Cow<'a, str>>,
    ) -> Self {
        let (namespace, payload) = (namespace.into(), payload.into());
        Self { kind, namespace, id, payload, attachments: Cow::Borrowed(&[]) }
    }

    /// Adds the attachments.
    #[must_use]
    pub fn attachments(mut self, attachments: impl Into<Cow<'a, [Bytes]>>) -> Self {
        self.attachments = attachments.into();
        self
    }
}

/// What is wrong with a packet or a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(Cow<'static, str>);

impl ParseError {
    /// Makes an error of a message for the log.
    pub const fn new(message: &'static str) -> Self {
        Self(Cow::Borrowed(message))
    }
}

impl From<String> for ParseError {
    fn from(message: String) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}
