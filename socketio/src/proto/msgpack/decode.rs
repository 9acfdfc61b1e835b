//! Decodes MessagePack to JSON text and attachments in one pass over the bytes.

use bytes::Bytes;
use rmp::Marker;
use serde::Serialize;

use super::{
    date,
    reader::{Extension, Reader, deeper},
};
use crate::proto::{
    attachments::{ESCAPED_PLACEHOLDER, PLACEHOLDER},
    json::plain,
    packet::Kind,
    parser::{Packet, ParseError},
};

/// The extension type of timestamps. The older encoder for JavaScript uses type 0 for `undefined`, dates and
/// bytes.
const TIMESTAMP: i8 = -1;

/// The bound below which all integers are exact in an `f64`.
const SAFE: f64 = 9_007_199_254_740_992.0;
/// The size of JSON text from which on its buffer grows with the text, because bytes are not in it.
const MAX_RESERVED: usize = 4096;

/// Decodes one packet, which must consist of all `bytes`.
pub(super) fn packet(
    bytes: &[u8],
    max_depth: usize,
    max_attachments: usize,
) -> Result<Packet<'static>, ParseError> {
    let mut decoder = Decoder::new(bytes, Vec::new(), max_attachments);
    let packet = decoder.packet(max_depth)?;
    decoder.end()?;
    Ok(packet)
}

/// Decodes one value to JSON text and the attachments that its placeholders refer to.
pub(super) fn value(
    bytes: &[u8],
    max_depth: usize,
    max_attachments: usize,
) -> Result<(String, Vec<Bytes>), ParseError> {
    let json = Vec::with_capacity(bytes.len().saturating_mul(5).min(MAX_RESERVED * 4) / 4);
    let (json, attachments) = append(bytes, json, max_depth, max_attachments)?;
    // Only `serde_json` and this module have written to `json`, so it is UTF-8.
    Ok((String::from_utf8(json).unwrap_or_default(), attachments))
}

/// Decodes one value to JSON text, which is appended to `json`, and the attachments that its placeholders refer to.
pub(super) fn append(
    bytes: &[u8],
    json: Vec<u8>,
    max_depth: usize,
    max_attachments: usize,
) -> Result<(Vec<u8>, Vec<Bytes>), ParseError> {
    let mut decoder = Decoder::new(bytes, json, max_attachments);
    decoder.value(max_depth)?;
    decoder.end()?;
    Ok((decoder.json, decoder.attachments))
}

struct Decoder<'a> {
    reader: Reader<'a>,
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    max_attachments: usize,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8], json: Vec<u8>, max_attachments: usize) -> Self {
        Self { reader: Reader(bytes), json, attachments: Vec::new(), max_attachments }
    }

    /// Checks that nothing follows.
    fn end(&self) -> Result<(), ParseError> {
        if self.reader.0.is_empty() { Ok(()) } else { Err(ParseError::new("trailing bytes")) }
    }

    /// Decodes the map of a packet. The entries may be in any order. Unknown entries, such as those that the
    /// official client adds, are ignored.
    fn packet(&mut self, max_depth: usize) -> Result<Packet<'static>, ParseError> {
        let (mut kind, mut namespace, mut id, mut has_data) = (None, None, None, false);
        let marker = self.reader.marker()?;
        let entries = self.reader.map_len(marker)?.ok_or(ParseError::new("a packet must be a map"))?;
        for _ in 0..entries {
            let marker = self.reader.marker()?;
            let key = self.reader.str(marker)?.ok_or(ParseError::new("a key must be a string"))?;
            let is_new = match key {
                b"type" => kind.replace(self.kind()?).is_none(),
                b"nsp" => namespace.replace(self.namespace()?).is_none(),
                b"id" => self.reader.skip_undefined() || id.replace(self.id()?).is_none(),
                b"data" => {
                    self.reader.skip_undefined() || {
                        self.value(max_depth)?;
                        !std::mem::replace(&mut has_data, true)
                    }
                }
                _ => {
                    self.skip(max_depth)?;
                    true
                }
            };
            if !is_new {
                return Err(ParseError::new("an entry stands twice"));
            }
        }
        // Only `serde_json` and this module have written to `json`, so it is UTF-8.
        let payload = String::from_utf8(std::mem::take(&mut self.json)).unwrap_or_default();
        Ok(Packet {
            kind: kind.ok_or(ParseError::new("no type"))?,
            namespace: namespace.ok_or(ParseError::new("no namespace"))?.into(),
            id,
            payload: payload.into(),
            attachments: std::mem::take(&mut self.attachments).into(),
        })
    }

    fn kind(&mut self) -> Result<Kind, ParseError> {
        Ok(match self.id()? {
            0 => Kind::Connect,
            1 => Kind::Disconnect,
            2 => Kind::Event,
            3 => Kind::Ack,
            4 => Kind::ConnectError,
            _ => return Err(ParseError::new("unknown packet type")),
        })
    }

    fn namespace(&mut self) -> Result<String, ParseError> {
        let marker = self.reader.marker()?;
        let name = self.reader.str(marker)?.ok_or(ParseError::new("a namespace must be a string"))?;
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// Decodes a non-negative integer of any encoded width.
    fn id(&mut self) -> Result<u64, ParseError> {
        let marker = self.reader.marker()?;
        let number = self.reader.integer(marker)?.and_then(|number| u64::try_from(number).ok());
        number.ok_or(ParseError::new("not a whole number"))
    }

    /// Decodes and discards a value.
    fn skip(&mut self, depth: usize) -> Result<(), ParseError> {
        let (json, attachments) = (self.json.len(), self.attachments.len());
        self.value(depth)?;
        self.json.truncate(json);
        self.attachments.truncate(attachments);
        Ok(())
    }

    /// Writes a value as JSON.
    fn value(&mut self, depth: usize) -> Result<(), ParseError> {
        let marker = self.reader.marker()?;
        match marker {
            Marker::FixStr(len) => {
                let text = self.reader.take(len.into())?;
                self.write_text(text);
            }
            Marker::Null => self.json.extend_from_slice(b"null"),
            Marker::True => self.json.extend_from_slice(b"true"),
            Marker::False => self.json.extend_from_slice(b"false"),
            Marker::F32 => {
                let number = f32::from_be_bytes(self.reader.fixed()?);
                self.write_float(number.into());
            }
            Marker::F64 => {
                let number = f64::from_be_bytes(self.reader.fixed()?);
                self.write_float(number);
            }
            _ => return self.other_value(marker, depth),
        }
        Ok(())
    }

    fn other_value(&mut self, marker: Marker, depth: usize) -> Result<(), ParseError> {
        if let Some(number) = self.reader.integer(marker)? {
            self.write_integer(number);
        } else if let Some(text) = self.reader.str(marker)? {
            self.write_text(text);
        } else if let Some(len) = self.reader.array_len(marker)? {
            self.array(len, depth)?;
        } else if let Some(len) = self.reader.map_len(marker)? {
            self.map(len, depth)?;
        } else if let Some(len) = self.reader.bin_len(marker)? {
            let bytes = self.reader.take(len)?;
            self.attach(bytes, depth)?;
        } else if let Some(extension) = self.reader.extension(marker)? {
            self.write_extension(&extension, depth)?;
        } else {
            return Err(ParseError::new("not MessagePack"));
        }
        Ok(())
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<(), ParseError> {
        let depth = deeper(depth)?;
        self.json.push(b'[');
        for at in 0..len {
            if at > 0 {
                self.json.push(b',');
            }
            self.value(depth)?;
        }
        self.json.push(b']');
        Ok(())
    }

    /// Writes an object. Entries whose value is `undefined` are omitted, as in `JSON.stringify`.
    fn map(&mut self, len: usize, depth: usize) -> Result<(), ParseError> {
        let depth = deeper(depth)?;
        self.json.push(b'{');
        let mut is_first = true;
        for _ in 0..len {
            let start = self.json.len();
            if !is_first {
                self.json.push(b',');
            }
            self.key()?;
            if self.reader.skip_undefined() {
                self.json.truncate(start);
                continue;
            }
            is_first = false;
            self.json.push(b':');
            self.value(depth)?;
        }
        self.json.push(b'}');
        Ok(())
    }

    /// Writes the key of an entry. The key must be a string or an integer, which is converted to a string as
    /// in JavaScript.
    fn key(&mut self) -> Result<(), ParseError> {
        let marker = self.reader.marker()?;
        if let Some(text) = self.reader.str(marker)? {
            if text == PLACEHOLDER.as_bytes() {
                self.json.push(b'"');
                self.json.extend_from_slice(ESCAPED_PLACEHOLDER.as_bytes());
                self.json.push(b'"');
            } else {
                self.write_text(text);
            }
            return Ok(());
        }
        let Some(number) = self.reader.integer(marker)? else {
            return Err(ParseError::new("a key is neither a string nor a whole number"));
        };
        self.json.push(b'"');
        self.write_integer(number);
        self.json.push(b'"');
        Ok(())
    }

    /// Writes an extension. As in JavaScript, an unknown extension is converted to an array of its type and
    /// its bytes.
    fn write_extension(&mut self, extension: &Extension<'a>, depth: usize) -> Result<(), ParseError> {
        match *extension {
            Extension { kind: 0, fixed: true, bytes: [_] } => self.json.extend_from_slice(b"null"),
            Extension { kind: 0, fixed: true, bytes } if let Ok(millis) = bytes.try_into() => {
                self.write(&date::of_millis(i64::from_be_bytes(millis)));
            }
            Extension { kind: 0, fixed: false, bytes } => self.attach(bytes, depth)?,
            Extension { kind: TIMESTAMP, bytes, .. }
                if let Some(millis) = date::millis_of_timestamp(bytes) =>
            {
                self.write(&date::of_millis(millis));
            }
            Extension { kind, bytes, .. } => {
                let depth = deeper(depth)?;
                self.json.push(b'[');
                self.write(&kind);
                self.json.push(b',');
                self.attach(bytes, depth)?;
                self.json.push(b']');
            }
        }
        Ok(())
    }

    /// Adds an attachment, and writes a placeholder for the attachment.
    fn attach(&mut self, bytes: &[u8], depth: usize) -> Result<(), ParseError> {
        // The placeholder is an object, so it counts as a nesting level when the text is validated.
        deeper(depth)?;
        if self.attachments.len() >= self.max_attachments {
            return Err(ParseError::new("too many attachments"));
        }
        self.json.extend_from_slice(br#"{"_placeholder":true,"num":"#);
        self.write(&self.attachments.len());
        self.json.push(b'}');
        self.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    /// Writes a number as in JavaScript. Integers are written without a fraction; NaN and infinities are
    /// written as `null`.
    fn write_float(&mut self, number: f64) {
        if number.fract() == 0.0 && number.abs() < SAFE && number.to_bits() != (-0.0_f64).to_bits() {
            self.write(&(number as i64));
        } else {
            self.write(&number);
        }
    }

    /// Writes an integer, which has at most 64 bits.
    fn write_integer(&mut self, number: i128) {
        match i64::try_from(number) {
            Ok(number) => self.write(&number),
            Err(_) => self.write(&number),
        }
    }

    /// Writes a string. Invalid UTF-8 is replaced.
    fn write_text(&mut self, text: &[u8]) {
        match std::str::from_utf8(text) {
            Ok(text) if plain(text.as_bytes()) == text.len() => {
                self.json.reserve(text.len() + 2);
                self.json.push(b'"');
                self.json.extend_from_slice(text.as_bytes());
                self.json.push(b'"');
            }
            Ok(text) => self.write(text),
            Err(_) => self.write(&*String::from_utf8_lossy(text)),
        }
    }

    fn write<T: Serialize + ?Sized>(&mut self, value: &T) {
        // Serializing strings and numbers to a vector cannot fail.
        let _ = serde_json::to_writer(&mut self.json, value);
    }
}
