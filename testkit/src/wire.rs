//! A WebSocket client on the level of frames.

use tokio::io::AsyncWriteExt;

use crate::{Endpoint, Http, Stream, frames};

/// A client that sends arbitrary bytes and reads the frames of the server one by one.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    received: Vec<u8>,
}

impl Wire {
    /// Opens a session and reads the open packet.
    pub async fn open<E: Endpoint>(server: &E) -> Self {
        let mut wire = Self::connect(server, "EIO=4&transport=websocket").await;
        let (_, open) = wire.frame().await.unwrap();
        assert!(open.starts_with(b"0{"));
        wire
    }

    /// Opens a WebSocket for a new session or for an existing polling session.
    pub async fn connect<E: Endpoint>(server: &E, query: &str) -> Self {
        Self::from_parts(Http::connect(server).await.upgrade(query).await)
    }

    /// Wraps a stream after its handshake, and the bytes received after the handshake.
    pub fn from_parts((stream, received): (Stream, Vec<u8>)) -> Self {
        Self { stream, received }
    }

    /// Sends bytes. Errors are ignored, because a server that detects a violation may close before it has
    /// read all of them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Shuts down the write side of the stream.
    pub async fn shut_down(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads available bytes without parsing them.
    pub async fn read_some(&mut self) {
        assert!(self.stream.read_more(&mut self.received).await, "the end of the stream");
    }

    /// Reads the next frame. Returns its first byte and its payload, or `None` at the end of the stream.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(frame) = frames::take(&mut self.received) {
                return Some(frame);
            }
            if !self.stream.read_more(&mut self.received).await {
                assert!(self.received.is_empty(), "ended within a frame");
                return None;
            }
        }
    }

    /// Reads to the end of the stream, which must be within a frame.
    pub async fn cut(&mut self) {
        while self.stream.read_more(&mut self.received).await {
            assert_eq!(frames::take(&mut self.received), None, "a whole frame");
        }
        assert!(!self.received.is_empty(), "ended between two frames");
    }

    /// Reads the next frame, which must be text.
    pub async fn text(&mut self) -> String {
        let (first, payload) = self.frame().await.expect("a frame");
        assert_eq!(first, 0x81, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// Reads the close frame, which must come next, and the end of the stream. Returns the code and the
    /// reason. A frame without a code has the code 1005, as in RFC 6455.
    pub async fn ended(&mut self) -> (u16, String) {
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
