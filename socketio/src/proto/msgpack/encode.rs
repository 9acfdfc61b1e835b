//! Encodes JSON text and attachments as MessagePack in one pass over the text. The output is identical to the
//! output of the official parser.

use bytes::Bytes;
use rmp::{
    Marker,
    encode::{write_bin, write_f64, write_sint, write_str, write_uint},
};

use crate::proto::{
    attachments::PLACEHOLDER,
    json::{Invalid, MAX_DEPTH, Scanner},
    packet::Kind,
    parser::{Packet, ParseError},
};

/// The maximum size of the keys and the small values of a packet.
const ENVELOPE: usize = 64;

/// Encodes one packet.
pub(super) fn packet(packet: &Packet<'_>) -> Result<Vec<u8>, ParseError> {
    let binary = packet.attachments.iter().map(Bytes::len).sum::<usize>();
    let len = packet.payload.len() + packet.namespace.len() + binary + ENVELOPE;
    // MessagePack lengths have at most 32 bits.
    if u32::try_from(len).is_err() {
        return Err(ParseError::new("too long"));
    }
    let mut writer = Writer {
        text: &packet.payload,
        scanner: Scanner::new(&packet.payload),
        attachments: &packet.attachments,
        out: Vec::with_capacity(len),
    };
    writer
        .packet(packet)
        .map_err(|Invalid| ParseError::new("the payload is not JSON, or nested too deeply"))?;
    Ok(writer.out)
}

/// Encodes one JSON value. Placeholders in it are replaced by their attachments.
pub(super) fn value(json: &str, attachments: &[Bytes]) -> Result<Vec<u8>, ParseError> {
    append(Vec::new(), json, attachments)
}

/// Like [`value`], but appends the value to `out`.
pub(super) fn append(mut out: Vec<u8>, json: &str, attachments: &[Bytes]) -> Result<Vec<u8>, ParseError> {
    let binary = attachments.iter().map(Bytes::len).sum::<usize>();
    let len = json.len() + binary + ENVELOPE;
    if u32::try_from(len).is_err() {
        return Err(ParseError::new("too long"));
    }
    out.reserve(len);
    let mut writer = Writer { text: json, scanner: Scanner::new(json), attachments, out };
    let written = writer.value(MAX_DEPTH).and_then(|()| writer.scanner.end());
    written.map_err(|Invalid| ParseError::new("not JSON, or nested too deeply"))?;
    Ok(writer.out)
}

struct Writer<'a> {
    text: &'a str,
    /// The current position in the text.
    scanner: Scanner<'a>,
    attachments: &'a [Bytes],
    out: Vec<u8>,
}

impl Writer<'_> {
    /// Writes the packet as a map whose entries are in the same order as in packets of the official server.
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Invalid> {
        let has_data = !packet.payload.is_empty();
        let entries = 2 + u8::from(has_data) + u8::from(packet.id.is_some());
        self.byte(Marker::FixMap(entries));
        let id_first = packet.kind == Kind::Ack;
        if id_first {
            self.id(packet.id);
        }
        self.str("type");
        self.byte(Marker::FixPos(match packet.kind {
            Kind::Connect => 0,
            Kind::Disconnect => 1,
            Kind::Event => 2,
            Kind::Ack => 3,
            Kind::ConnectError => 4,
        }));
        if has_data {
            self.str("data");
            self.value(MAX_DEPTH)?;
            self.scanner.end()?;
        }
        self.str("nsp");
        self.str(&packet.namespace);
        if !id_first {
            self.id(packet.id);
        }
        Ok(())
    }

    fn id(&mut self, id: Option<u64>) {
        if let Some(id) = id {
            self.str("id");
            let _ = write_uint(&mut self.out, id);
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Invalid> {
        self.scanner.space();
        match self.scanner.peek() {
            Some(b'"') => self.string(),
            Some(b'{') if self.placeholder() => Ok(()),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b't') => self.literal(b"true", Marker::True),
            Some(b'f') => self.literal(b"false", Marker::False),
            Some(b'n') => self.literal(b"null", Marker::Null),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Invalid> {
        let wide = [Marker::Array16, Marker::Array32];
        self.entries(depth, Marker::FixArray(0), wide, b']', Self::value)
    }

    fn object(&mut self, depth: usize) -> Result<(), Invalid> {
        let wide = [Marker::Map16, Marker::Map32];
        self.entries(depth, Marker::FixMap(0), wide, b'}', |this, depth| {
            this.scanner.space();
            this.string()?;
            this.scanner.space();
            this.scanner.expect(b':')?;
            this.value(depth)
        })
    }

    /// Writes the entries of an array or object.
    fn entries(
        &mut self,
        depth: usize,
        fixed: Marker,
        wide: [Marker; 2],
        end: u8,
        entry: impl Fn(&mut Self, usize) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        let depth = self.scanner.open(depth)?;
        let (start, mut len) = (self.out.len(), 0);
        self.byte(fixed);
        if !self.scanner.take(end) {
            loop {
                entry(self, depth)?;
                len += 1;
                self.scanner.space();
                if self.scanner.take(end) {
                    break;
                }
                self.scanner.expect(b',')?;
            }
        }
        self.close(start, len, wide);
        Ok(())
    }

    /// Writes the length of an array or map into the marker at its start. The length is not known before the
    /// end of the text is reached. The content is moved only if there are 16 or more elements, and most
    /// arrays and maps are shorter.
    fn close(&mut self, start: usize, len: u32, [wide, widest]: [Marker; 2]) {
        if len < 16 {
            self.out[start] |= len as u8;
        } else if let Ok(len) = u16::try_from(len) {
            let [a, b] = len.to_be_bytes();
            self.out.splice(start..=start, [wide.to_u8(), a, b]);
        } else {
            let [a, b, c, d] = len.to_be_bytes();
            self.out.splice(start..=start, [widest.to_u8(), a, b, c, d]);
        }
    }

    /// Writes an attachment if the object at this position is a placeholder. Returns `false` if it is not a
    /// placeholder.
    fn placeholder(&mut self) -> bool {
        let start = self.scanner.at;
        let bytes = self.read_placeholder().ok().and_then(|num| self.attachments.get(num));
        match bytes {
            Some(bytes) => drop(write_bin(&mut self.out, bytes)),
            None => self.scanner.at = start,
        }
        bytes.is_some()
    }

    fn read_placeholder(&mut self) -> Result<usize, Invalid> {
        if self.attachments.is_empty() {
            return Err(Invalid);
        }
        self.scanner.open(1)?;
        self.scanner.key(PLACEHOLDER.as_bytes())?;
        self.scanner.literal(b"true")?;
        self.scanner.space();
        self.scanner.expect(b',')?;
        self.scanner.space();
        self.scanner.key(b"num")?;
        let start = self.scanner.at;
        self.scanner.digits()?;
        let num = self.text.get(start..self.scanner.at).and_then(|num| num.parse().ok());
        self.scanner.space();
        self.scanner.expect(b'}')?;
        num.ok_or(Invalid)
    }

    fn string(&mut self) -> Result<(), Invalid> {
        let start = self.scanner.at + 1;
        self.scanner.string()?;
        let raw = self.text.get(start..self.scanner.at - 1).ok_or(Invalid)?;
        if raw.contains('\\') {
            self.str(&unescaped(raw));
        } else {
            self.str(raw);
        }
        Ok(())
    }

    /// Writes a number as JavaScript encodes it after parsing. A number without a fractional part is an
    /// integer, even if it is written with a fraction or an exponent.
    fn number(&mut self) -> Result<(), Invalid> {
        let start = self.scanner.at;
        self.scanner.number()?;
        let text = self.text.get(start..self.scanner.at).ok_or(Invalid)?;
        if let Ok(number) = text.parse() {
            let _ = write_uint(&mut self.out, number);
            return Ok(());
        }
        let float = || text.parse::<f64>().map_err(|_| Invalid);
        let whole = match text.parse::<i128>() {
            Ok(whole) => Some(whole),
            Err(_) => Some(float()?).filter(|float| float.fract() == 0.0).map(|float| float as i128),
        };
        // Writing to a vector cannot fail.
        if let Some(whole) = whole.and_then(|whole| u64::try_from(whole).ok()) {
            let _ = write_uint(&mut self.out, whole);
        } else if let Some(whole) = whole.and_then(|whole| i64::try_from(whole).ok()) {
            let _ = write_sint(&mut self.out, whole);
        } else {
            let _ = write_f64(&mut self.out, float()?);
        }
        Ok(())
    }

    fn literal(&mut self, text: &[u8], marker: Marker) -> Result<(), Invalid> {
        self.scanner.literal(text)?;
        self.byte(marker);
        Ok(())
    }

    fn str(&mut self, text: &str) {
        let _ = write_str(&mut self.out, text);
    }

    fn byte(&mut self, marker: Marker) {
        self.out.push(marker.to_u8());
    }
}

/// Decodes the escapes of a JSON string. MessagePack cannot represent lone surrogates, so each is replaced by
/// a replacement character.
fn unescaped(mut raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    while let Some(at) = raw.find('\\') {
        text.push_str(&raw[..at]);
        raw = &raw[at..];
        let start = raw.len();
        let units = std::iter::from_fn(|| {
            let unit = u16::from_str_radix(raw.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
            raw = &raw[6..];
            Some(unit)
        });
        text.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
        if raw.len() == start {
            let mut escape = raw.chars();
            escape.next();
            text.extend(escape.next().map(|letter| match letter {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                itself => itself,
            }));
            raw = escape.as_str();
        }
    }
    text.push_str(raw);
    text
}
