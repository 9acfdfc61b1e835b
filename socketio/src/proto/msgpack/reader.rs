//! Reads the parts of MessagePack values from bytes.

use rmp::Marker;

use crate::proto::parser::ParseError;

const ENDED: ParseError = ParseError::new("ended early");

/// The unread bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

/// A MessagePack extension value.
pub(super) struct Extension<'a> {
    pub(super) kind: i8,
    /// `true` if the length is encoded in the marker.
    pub(super) fixed: bool,
    pub(super) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads the start of an array. Returns its length.
    pub(crate) fn array(&mut self) -> Result<usize, ParseError> {
        let marker = self.marker()?;
        self.array_len(marker)?.ok_or(ParseError::new("not an array"))
    }

    /// Reads the start of a map. Returns the number of its entries.
    pub(crate) fn map(&mut self) -> Result<usize, ParseError> {
        let marker = self.marker()?;
        self.map_len(marker)?.ok_or(ParseError::new("not a map"))
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], ParseError> {
        let marker = self.marker()?;
        self.str(marker)?.ok_or(ParseError::new("not a string"))
    }

    /// Reads past a value. Returns its bytes. Checks that it is one, except that the keys of maps may be values of any
    /// type.
    pub(crate) fn pass(&mut self, depth: usize) -> Result<&'a [u8], ParseError> {
        let start = self.0;
        self.pass_value(depth)?;
        Ok(&start[..start.len() - self.0.len()])
    }

    fn pass_value(&mut self, depth: usize) -> Result<(), ParseError> {
        let marker = self.marker()?;
        let len = match marker {
            Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => 0,
            Marker::FixStr(len) => len.into(),
            Marker::FixArray(values) => return self.pass_values(values.into(), depth),
            Marker::FixMap(entries) => return self.pass_values(usize::from(entries) * 2, depth),
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::Str8 | Marker::Bin8 => self.len8()?,
            Marker::Str16 | Marker::Bin16 => self.len16()?,
            Marker::Str32 | Marker::Bin32 => self.len32()?,
            _ => {
                let values = match (self.array_len(marker)?, self.map_len(marker)?) {
                    (Some(len), _) => len,
                    (None, Some(len)) => len.saturating_mul(2),
                    (None, None) => {
                        let is_extension = self.extension(marker)?.is_some();
                        return if is_extension { Ok(()) } else { Err(ParseError::new("not MessagePack")) };
                    }
                };
                return self.pass_values(values, depth);
            }
        };
        self.take(len).map(drop)
    }

    fn pass_values(&mut self, values: usize, depth: usize) -> Result<(), ParseError> {
        let depth = deeper(depth)?;
        (0..values).try_for_each(|_| self.pass_value(depth))
    }

    /// Skips the next value if it is `undefined`. Returns `true` if the value was skipped.
    pub(super) fn skip_undefined(&mut self) -> bool {
        match self.0 {
            [0xd4, 0, _, rest @ ..] => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    pub(super) fn integer(&mut self, marker: Marker) -> Result<Option<i128>, ParseError> {
        Ok(Some(match marker {
            Marker::FixPos(number) => number.into(),
            Marker::FixNeg(number) => number.into(),
            Marker::U8 => u8::from_be_bytes(self.fixed()?).into(),
            Marker::U16 => u16::from_be_bytes(self.fixed()?).into(),
            Marker::U32 => u32::from_be_bytes(self.fixed()?).into(),
            Marker::U64 => u64::from_be_bytes(self.fixed()?).into(),
            Marker::I8 => i8::from_be_bytes(self.fixed()?).into(),
            Marker::I16 => i16::from_be_bytes(self.fixed()?).into(),
            Marker::I32 => i32::from_be_bytes(self.fixed()?).into(),
            Marker::I64 => i64::from_be_bytes(self.fixed()?).into(),
            _ => return Ok(None),
        }))
    }

    pub(super) fn str(&mut self, marker: Marker) -> Result<Option<&'a [u8]>, ParseError> {
        let len = match marker {
            Marker::FixStr(len) => len.into(),
            Marker::Str8 => self.len8()?,
            Marker::Str16 => self.len16()?,
            Marker::Str32 => self.len32()?,
            _ => return Ok(None),
        };
        self.take(len).map(Some)
    }

    pub(super) fn bin_len(&mut self, marker: Marker) -> Result<Option<usize>, ParseError> {
        match marker {
            Marker::Bin8 => self.len8().map(Some),
            Marker::Bin16 => self.len16().map(Some),
            Marker::Bin32 => self.len32().map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn array_len(&mut self, marker: Marker) -> Result<Option<usize>, ParseError> {
        let len = match marker {
            Marker::FixArray(len) => len.into(),
            Marker::Array16 => self.len16()?,
            Marker::Array32 => self.len32()?,
            _ => return Ok(None),
        };
        self.elements(len, 1).map(Some)
    }

    pub(super) fn map_len(&mut self, marker: Marker) -> Result<Option<usize>, ParseError> {
        let len = match marker {
            Marker::FixMap(len) => len.into(),
            Marker::Map16 => self.len16()?,
            Marker::Map32 => self.len32()?,
            _ => return Ok(None),
        };
        self.elements(len, 2).map(Some)
    }

    pub(super) fn extension(&mut self, marker: Marker) -> Result<Option<Extension<'a>>, ParseError> {
        let (len, fixed) = match marker {
            Marker::FixExt1 => (1, true),
            Marker::FixExt2 => (2, true),
            Marker::FixExt4 => (4, true),
            Marker::FixExt8 => (8, true),
            Marker::FixExt16 => (16, true),
            Marker::Ext8 => (self.len8()?, false),
            Marker::Ext16 => (self.len16()?, false),
            Marker::Ext32 => (self.len32()?, false),
            _ => return Ok(None),
        };
        let kind = i8::from_be_bytes(self.fixed()?);
        Ok(Some(Extension { kind, fixed, bytes: self.take(len)? }))
    }

    /// Checks that an announced count is possible with the remaining bytes, where each element has at least
    /// `size` bytes.
    pub(super) fn elements(&self, count: usize, size: usize) -> Result<usize, ParseError> {
        if count <= self.0.len() / size { Ok(count) } else { Err(ENDED) }
    }

    pub(super) fn marker(&mut self) -> Result<Marker, ParseError> {
        self.fixed().map(|[byte]| Marker::from_u8(byte))
    }

    pub(super) fn len8(&mut self) -> Result<usize, ParseError> {
        self.fixed().map(|bytes| u8::from_be_bytes(bytes).into())
    }

    pub(super) fn len16(&mut self) -> Result<usize, ParseError> {
        self.fixed().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    pub(super) fn len32(&mut self) -> Result<usize, ParseError> {
        self.fixed().and_then(|bytes| usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| ENDED))
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(ENDED)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(ENDED)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// Enters an array or object. Returns the remaining depth.
pub(super) fn deeper(depth: usize) -> Result<usize, ParseError> {
    depth.checked_sub(1).ok_or(ParseError::new("nested too deeply"))
}
