//! Packets as MessagePack: <https://github.com/socketio/socket.io-msgpack-parser>.

mod date;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use engineio::{Frame, Message};

use super::parser::{Decoder, Packet, ParseError, Parser, ParserLimits};

/// Packets as [MessagePack](https://msgpack.org), one binary message each, for the official clients with
/// `parser: require("socket.io-msgpack-parser")`.
///
/// Smaller than JSON for numbers and binary data, and usually slower on the side of the client. What JSON has no form
/// for arrives as it would with JSON: dates as text, NaN and infinities as `null`. Text that is not UTF-8 arrives with
/// replacement characters.
///
/// Stricter than Node's: an event under a name that only a server may use ends the connection, as with JSON, and a
/// client whose auth payload holds binary data is refused. A message becomes at most about six times its length of JSON
/// text before a handler reads it, beside its [attachments](Self::max_attachments).
///
/// # Examples
///
/// ```
/// use socketio::{MsgpackParser, Server, ServerConfig};
///
/// let io = Server::with_config(ServerConfig::default().parser(MsgpackParser::default()));
/// ```
#[derive(Debug, Clone)]
pub struct MsgpackParser {
    max_attachments: usize,
}

impl Default for MsgpackParser {
    fn default() -> Self {
        Self { max_attachments: 1024 }
    }
}

impl MsgpackParser {
    /// Sets the most binary values in one packet of a client; beyond, its connection is closed. 1,024 by default;
    /// Node's parser has no limit.
    #[must_use]
    pub fn max_attachments(mut self, max: usize) -> Self {
        self.max_attachments = max;
        self
    }
}

impl From<MsgpackParser> for Option<Arc<dyn Parser>> {
    fn from(parser: MsgpackParser) -> Self {
        Some(Arc::new(parser))
    }
}

impl Parser for MsgpackParser {
    fn encode(&self, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError> {
        Ok(vec![Frame::binary(encode::packet(packet)?.into_boxed_slice().into())])
    }

    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decoder> {
        Box::new(MsgpackDecoder { max_depth: limits.max_depth, max_attachments: self.max_attachments })
    }
}

/// Has no state: each message is a packet.
struct MsgpackDecoder {
    max_depth: usize,
    max_attachments: usize,
}

impl Decoder for MsgpackDecoder {
    fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError> {
        match message {
            Message::Binary(bytes) => decode::packet(&bytes, self.max_depth, self.max_attachments).map(Some),
            Message::Text(_) => Err(ParseError::new("text instead of MessagePack")),
        }
    }
}
