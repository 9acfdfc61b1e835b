//! A minimal WebSocket codec for messages of any length.

use std::ops::Range;

/// Opcode of a text message.
pub const TEXT: u8 = 1;
/// Opcode of a binary message.
pub const BINARY: u8 = 2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping frame.
pub const PING: u8 = 9;
/// Opcode of a pong frame.
pub const PONG: u8 = 10;

/// The mask of all frames of the load generator. A server cannot rely on it being constant.
pub const MASK: [u8; 4] = [0x5d, 0xe3, 0x0b, 0x94];

/// Appends an unmasked frame, as sent by servers.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    write_head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends a frame masked with [`MASK`], as sent by clients.
pub fn write_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    write_head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK);
}

/// Returns a masked text message.
pub fn text(payload: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_masked(&mut out, TEXT, payload.as_bytes());
    out
}

fn write_head(out: &mut Vec<u8>, opcode: u8, length: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    match length {
        0..126 => out.push(mask_bit | length as u8),
        126..0x1_0000 => {
            out.push(mask_bit | 0x7e);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 0x7f);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A parsed frame header, and the position of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// `true` in the last frame of a message.
    pub last: bool,
    /// The opcode, such as [`TEXT`].
    pub opcode: u8,
    /// The mask of the payload.
    pub mask: Option<[u8; 4]>,
    /// The range of the payload, whose end is the end of the frame.
    pub payload: Range<usize>,
}

/// Parses the first frame. Returns `None` if it is incomplete.
pub fn read(bytes: &[u8]) -> Option<Frame> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (length, mut start) = match second & 0x7f {
        0x7e => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        0x7f => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mask = if second & 0x80 == 0 {
        None
    } else {
        start += 4;
        Some(*bytes.get(start - 4..)?.first_chunk()?)
    };
    let end = start.checked_add(length)?;
    (bytes.len() >= end).then(|| Frame {
        last: first & 0x80 != 0,
        opcode: first & 0x0f,
        mask,
        payload: start..end,
    })
}

/// Applies or removes a mask.
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 8] = [0, 1, 125, 126, 1000, 65_535, 65_536, 70_001];

    #[test]
    fn a_frame_is_found_where_it_was_written() {
        for length in LENGTHS {
            let mut out = Vec::new();
            write(&mut out, BINARY, &vec![7; length]);
            let frame = read(&out).unwrap();
            assert_eq!((frame.last, frame.opcode, frame.mask), (true, BINARY, None));
            assert_eq!((frame.payload.len(), frame.payload.end), (length, out.len()));
            assert_eq!(read(&out[..out.len() - 1]), None, "{length} bytes and one less");
        }
    }

    #[test]
    fn a_mask_comes_off_again() {
        for length in LENGTHS {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut out = Vec::new();
            write_masked(&mut out, TEXT, &payload);
            let frame = read(&out).unwrap();
            assert_eq!(frame.mask, Some(MASK));
            let got = &mut out[frame.payload];
            assert!(length == 0 || got != payload);
            unmask(got, MASK);
            assert_eq!(got, payload);
        }
    }
}
