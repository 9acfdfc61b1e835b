//! A WebSocket as the bytes that it is.

use std::io::Cursor;

use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use super::{Http, Server, Stream};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) struct Wire {
    stream: Stream,
    received: Vec<u8>,
}

impl Wire {
    /// Opens a session, and takes the open packet.
    pub(crate) async fn open(server: &Server) -> Self {
        let mut wire = Self::connect(server, "EIO=4&transport=websocket").await;
        let (_, open) = wire.frame().await.unwrap();
        assert!(open.starts_with(b"0{"));
        wire
    }

    pub(crate) async fn connect(server: &Server, query: &str) -> Self {
        Self::from_parts(Http::connect(server).await.upgrade(query).await)
    }

    pub(crate) fn from_parts((stream, received): (Stream, Vec<u8>)) -> Self {
        Self { stream, received }
    }

    /// Sends bytes. A server that has found a fault may close before it has read all of them.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Ends our side of the stream.
    pub(crate) async fn shut_down(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads what is there, without a look at it.
    pub(crate) async fn read_some(&mut self) {
        assert!(self.stream.read_more(&mut self.received).await, "the end of the stream");
    }

    /// The next frame: its first byte and its payload; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let mut cursor = Cursor::new(self.received.as_slice());
            if let Some((header, len)) = FrameHeader::parse(&mut cursor).unwrap() {
                assert!(header.mask.is_none(), "a server does not mask");
                let start = usize::try_from(cursor.position()).unwrap();
                let end = start + usize::try_from(len).unwrap();
                if let Some(payload) = self.received.get(start..end) {
                    let frame = (self.received[0], payload.to_vec());
                    self.received.drain(..end);
                    return Some(frame);
                }
            }
            if !self.stream.read_more(&mut self.received).await {
                assert!(self.received.is_empty(), "ended within a frame");
                return None;
            }
        }
    }

    /// The next text frame.
    pub(crate) async fn text(&mut self) -> String {
        let (first, payload) = self.frame().await.expect("a frame");
        assert_eq!(first, 0x81, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// The code and reason of the close frame that must come next, and then the end of the stream. A frame
    /// without a code counts as 1005, as RFC 6455 has it.
    pub(crate) async fn close(&mut self) -> (u16, String) {
        let (first, payload) = self.frame().await.expect("a close frame");
        assert_eq!(first, 0x88, "{payload:?}");
        assert_eq!(self.frame().await, None);
        match payload.as_slice() {
            [] => (1005, String::new()),
            [high, low, reason @ ..] => {
                (u16::from_be_bytes([*high, *low]), String::from_utf8(reason.to_vec()).unwrap())
            }
            [_] => panic!("half a code"),
        }
    }
}

/// A masked frame, as a client must send it.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
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

/// A close frame with a code.
pub(crate) fn close_frame(code: u16) -> Vec<u8> {
    frame(0x88, code.to_be_bytes())
}
