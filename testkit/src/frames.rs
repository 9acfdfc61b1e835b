//! WebSocket frames as bytes, for clients that control which bytes are sent in one write.

/// The FIN bit in the first byte of a frame.
pub const FIN: u8 = 0x80;
/// The opcode of a continuation frame.
pub const CONTINUE: u8 = 0x0;
/// The opcode of a text message.
pub const TEXT: u8 = 0x1;
/// The opcode of a binary message.
pub const BINARY: u8 = 0x2;
/// The opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// The opcode of a ping.
pub const PING: u8 = 0x9;
/// The opcode of a pong.
pub const PONG: u8 = 0xa;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Returns a masked frame with this first byte and payload. The payload of a text frame may be invalid UTF-8.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Returns a masked text message in one frame.
pub fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | TEXT, text)
}

/// Returns a masked binary message in one frame.
pub fn binary(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | BINARY, bytes)
}

/// Returns a masked close frame with a code.
pub fn close_frame(code: u16) -> Vec<u8> {
    frame(FIN | CLOSE, code.to_be_bytes())
}

/// Returns a masked message in frames of at most `size` bytes.
pub fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = payload.len().div_ceil(size) - 1;
    let first_byte = |index| if index == 0 { opcode } else { CONTINUE } | if index == last { FIN } else { 0 };
    payload.chunks(size).enumerate().map(|(index, chunk)| frame(first_byte(index), chunk)).collect()
}

/// Removes a complete server frame from the start of `received`. Returns its first byte and its payload.
pub fn take(received: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, len, ..] = *received.as_slice() else { return None };
    let (start, len) = match len {
        0..126 => (2, usize::from(len)),
        126 => (4, usize::from(u16::from_be_bytes(received.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(received.get(2..10)?.try_into().unwrap()) as usize),
        _ => panic!("a server does not mask"),
    };
    let payload = received.get(start..start + len)?.to_vec();
    received.drain(..start + len);
    Some((first, payload))
}
