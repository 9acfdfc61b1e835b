//! Encodes and decodes packets as MessagePack: <https://github.com/socketio/socket.io-msgpack-parser>.

mod date;
mod decode;
mod encode;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use engineio::{Frame, Message};

pub(crate) use reader::Reader;

use super::json::MAX_DEPTH;
use super::parser::{Decoder, Packet, ParseError, Parser, ParserLimits};

/// Encodes a JSON value as MessagePack. Placeholders of the Socket.IO protocol in it are replaced by their
/// attachments.
///
/// # Errors
///
/// Returns an error if `json` is not JSON, if it is nested more than 128 levels deep, or if the result would
/// be longer than 4 GiB.
pub fn from_json(json: &str, attachments: &[Bytes]) -> Result<Vec<u8>, ParseError> {
    encode::value(json, attachments)
}

/// Decodes a MessagePack value to JSON text. Binary data is replaced by placeholders of the Socket.IO
/// protocol for the returned attachments, in order.
///
/// # Errors
///
/// Returns an error if `bytes` is not one MessagePack value, if it is nested more than 128 levels deep, or if
/// it contains more than `max_attachments` binary values.
pub fn to_json(bytes: &[u8], max_attachments: usize) -> Result<(String, Vec<Bytes>), ParseError> {
    decode::value(bytes, MAX_DEPTH, max_attachments)
}

/// Like [`to_json`], but appends the JSON text to `json`, and limits the depth.
pub(crate) fn append_json(
    bytes: &[u8],
    json: Vec<u8>,
    max_depth: usize,
    max_attachments: usize,
) -> Result<(Vec<u8>, Vec<Bytes>), ParseError> {
    decode::append(bytes, json, max_depth, max_attachments)
}

/// Like [`from_json`], but appends the value to `out`.
pub(crate) fn append(out: Vec<u8>, json: &str, attachments: &[Bytes]) -> Result<Vec<u8>, ParseError> {
    encode::append(out, json, attachments)
}

/// A [`Parser`] that encodes each packet as one binary [MessagePack](https://msgpack.org) message. The
/// official clients must be configured with `parser: require("socket.io-msgpack-parser")`.
///
/// MessagePack is smaller than JSON for numbers and binary data, and usually slower on the client. Values
/// that JSON cannot represent are converted as in JavaScript: dates are converted to text, NaN and infinities
/// to `null`. Invalid UTF-8 is decoded with replacement characters.
///
/// This parser is stricter than the parser of Node.js. As with JSON, a connection is closed if an event has a
/// reserved name; a client whose auth payload contains binary data is refused. Before a handler is called, a
/// message is expanded to JSON text of at most about six times the length of the message, in addition to its
/// [attachments](Self::max_attachments).
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
    /// Sets the maximum number of binary values in a packet from a client. Defaults to 1,024. A client that
    /// exceeds the limit is disconnected. The parser of Node.js has no limit.
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

/// A stateless decoder, because each message is a complete packet.
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
