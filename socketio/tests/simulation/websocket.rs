//! WebSocket frames from the client's side.

use tokio::io::{AsyncReadExt, DuplexStream, ReadHalf};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The frames of the server.
pub(crate) struct Frames {
    pub(crate) stream: ReadHalf<DuplexStream>,
    pub(crate) received: Vec<u8>,
}

#[derive(Debug)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Close,
}

impl Frames {
    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn next(mut self) -> Option<(Self, Frame)> {
        loop {
            if let Some(frame) = self.take() {
                return Some((self, frame));
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let [first, second, ..] = *self.received.as_slice() else { return None };
        let (start, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes(self.received.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(self.received.get(2..10)?.try_into().unwrap()) as usize),
            len => (2, usize::from(len)),
        };
        let payload = self.received.get(start..start + len)?.to_vec();
        self.received.drain(..start + len);
        Some(match first {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x82 => Frame::Binary(payload),
            0x88 => Frame::Close,
            _ => panic!("a frame that no server sends: {first:x}"),
        })
    }
}

/// Appends a masked frame.
pub(crate) fn write(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len => {
            out.push(0xfe);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Appends a message, in two fragments if it is to be split.
pub(crate) fn write_message(out: &mut Vec<u8>, opcode: u8, payload: &[u8], split: Option<usize>) {
    match split {
        Some(at) => {
            write(out, opcode, &payload[..at]);
            write(out, 0x80, &payload[at..]);
        }
        None => write(out, 0x80 | opcode, payload),
    }
}
