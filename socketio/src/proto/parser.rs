//! Defines custom packet encodings, which replace the JSON encoding of the protocol.

use std::{
    borrow::Cow,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use engineio::{Frame, Message};

use super::json::MAX_DEPTH;
pub use super::packet::Kind as PacketKind;

/// A custom packet encoding, which all clients of the server must use. Node.js calls this option `parser`.
///
/// Handlers and broadcasts do not depend on the parser. A broadcast is encoded once for all recipients. If
/// [connection state recovery](crate::ConnectionStateRecovery) is enabled, an event is encoded a second time
/// with its offset, while its namespace is locked. A parser must therefore not emit events.
///
/// # Examples
///
/// This parser encodes a packet as four lines of text:
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
    /// Encodes a packet into one or more messages, which are sent in order. The bytes of all messages count
    /// against [`max_buffered`](crate::EngineConfig::max_buffered) and the limits of connection state
    /// recovery.
    ///
    /// # Errors
    ///
    /// Returns an error if the format cannot represent the packet. The packet is then not sent, and `emit`
    /// returns [`EmitError::Encode`](crate::EmitError::Encode).
    fn encode(&self, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError>;

    /// Creates the decoder for the messages of one connection.
    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decoder>;
}

/// Decodes the messages of one connection. A `Decoder` is created by a [`Parser`]. Applications may implement both
/// traits.
pub trait Decoder: Send {
    /// Decodes the next message. Returns `None` if further messages are needed to complete the packet.
    ///
    /// The server validates the returned packet. The payload must be JSON of bounded depth that is valid for
    /// the kind, each placeholder must refer to a different attachment, and the event name must not be
    /// reserved. The decoder must limit the size of the packet. Each message has at most
    /// [`ParserLimits::max_bytes`], but a decoder of a format that expands its input must enforce an
    /// additional limit.
    ///
    /// # Errors
    ///
    /// Returns an error if the message violates the format. The connection is then closed.
    fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError>;
}

/// The decoder of one connection. A panic of the decoder is treated as an error, so the connection is closed.
pub(crate) struct GuardedDecoder(Box<dyn Decoder>);

impl GuardedDecoder {
    pub(crate) fn new(parser: &dyn Parser, limits: ParserLimits) -> Self {
        Self(catch_panic(|| parser.decoder(limits)).unwrap_or_else(|_| Box::new(PanickedDecoder)))
    }

    pub(crate) fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError> {
        catch_panic(|| self.0.decode(message))?
    }
}

/// The decoder of a connection whose parser panicked when it created a decoder.
struct PanickedDecoder;

impl Decoder for PanickedDecoder {
    fn decode(&mut self, _: Message<'_>) -> Result<Option<Packet<'static>>, ParseError> {
        Err(PANICKED)
    }
}

/// Encodes a packet with a parser. Returns an error if the parser panics.
pub(crate) fn encode(parser: &dyn Parser, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError> {
    let frames = catch_panic(|| parser.encode(packet))??;
    // A packet without messages would be lost silently.
    if frames.is_empty() { Err(ParseError::new("the parser made no message")) } else { Ok(frames) }
}

fn catch_panic<T>(f: impl FnOnce() -> T) -> Result<T, ParseError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| {
        engineio::__log!(error, "the parser panicked");
        PANICKED
    })
}

const PANICKED: ParseError = ParseError::new("the parser panicked");

/// The limits that a [`Decoder`] must enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParserLimits {
    /// The maximum size in bytes of a packet that consists of several messages. This is the value of
    /// [`max_http_buffer_size`](crate::EngineConfig::max_http_buffer_size), which also bounds each
    /// message.
    pub max_bytes: usize,
    /// The maximum nesting depth of arrays and objects in a payload. This is the value of
    /// [`max_json_depth`](crate::ServerConfig::max_json_depth).
    pub max_depth: usize,
}

/// A packet that a [`Parser`] encodes and decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// The packet type.
    pub kind: PacketKind,
    /// The namespace. The default namespace is `/`.
    pub namespace: Cow<'a, str>,
    /// The acknowledgement id. Set on an acknowledgement, and on an event that requests an acknowledgement.
    pub id: Option<u64>,
    /// The JSON text. It is an array for an event, whose first element is the event name, and for an
    /// acknowledgement. It is an object or empty for a CONNECT, any value for a `CONNECT_ERROR`, and empty
    /// for a DISCONNECT. An attachment is represented by a placeholder such as
    /// `{"_placeholder":true,"num":0}`. A key that is written with an escape, such as `"\u005fplaceholder"`,
    /// does not mark a placeholder.
    pub payload: Cow<'a, str>,
    /// The attachments that the placeholders refer to by index. If there are no attachments, no object is a
    /// placeholder.
    pub attachments: Cow<'a, [Bytes]>,
}

impl Default for ParserLimits {
    /// Returns the limits of a server with the default options.
    fn default() -> Self {
        Self { max_bytes: 1_000_000, max_depth: MAX_DEPTH }
    }
}

impl<'a> Packet<'a> {
    /// Creates a packet without attachments.
    pub fn new(
        kind: PacketKind,
        namespace: impl Into<Cow<'a, str>>,
        id: Option<u64>,
        payload: impl Into<Cow<'a, str>>,
    ) -> Self {
        let (namespace, payload) = (namespace.into(), payload.into());
        Self { kind, namespace, id, payload, attachments: Cow::Borrowed(&[]) }
    }

    /// Sets the attachments.
    #[must_use]
    pub fn attachments(mut self, attachments: impl Into<Cow<'a, [Bytes]>>) -> Self {
        self.attachments = attachments.into();
        self
    }
}

/// An error of a [`Parser`] or [`Decoder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(Cow<'static, str>);

impl ParseError {
    /// Creates an error with a message for the log.
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
