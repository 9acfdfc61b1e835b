//! WebSocket frames on the client side.

use testkit::frames::{self, CONTINUE, FIN, frame};
use tokio::io::{AsyncReadExt, DuplexStream, ReadHalf};

/// Reads the frames that the server sends.
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
    /// Returns the next frame, or `None` at the end of the stream.
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
        let (first, payload) = frames::take(&mut self.received)?;
        Some(match first {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x82 => Frame::Binary(payload),
            0x88 => Frame::Close,
            _ => panic!("a frame that no server sends: {first:x}"),
        })
    }
}

/// Appends a message, in two fragments if `split` is set.
pub(crate) fn write_message(out: &mut Vec<u8>, opcode: u8, payload: &[u8], split: Option<usize>) {
    match split {
        Some(at) => {
            out.extend(frame(opcode, &payload[..at]));
            out.extend(frame(FIN | CONTINUE, &payload[at..]));
        }
        None => out.extend(frame(FIN | opcode, payload)),
    }
}
