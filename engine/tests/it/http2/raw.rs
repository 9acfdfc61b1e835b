//! A client that writes frames itself, and so can violate the protocol.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::support::Stream;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GO_AWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawFrame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl RawFrame {
    /// Returns a number in network byte order.
    pub(super) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// Encodes a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes the head of a GET request.
pub(super) fn get(stream: u32, target: &str) -> Vec<u8> {
    let len = u8::try_from(target.len()).unwrap();
    assert!(len < 127);
    // `:method: GET`, `:scheme: http`, `:authority: a`, and `:path`, in the coding of RFC 7541 without compression.
    let head = [&[0x82, 0x86, 0x01, 1, b'a', 0x04, len], target.as_bytes()].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head)
}

pub(super) struct Raw(Stream);

impl Raw {
    /// Starts HTTP/2 on a stream. Returns the first frame of the server too.
    pub(super) async fn over(stream: Stream) -> (Self, RawFrame) {
        let mut raw = Self(stream);
        raw.send([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()).await;
        let settings = raw.frame().await.unwrap();
        assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
        raw.send(frame(SETTINGS, ACK, 0, &[])).await;
        (raw, settings)
    }

    /// Sends bytes. Errors are ignored, because a server that detects a violation may close before it has read all.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(self.0.patience, self.0.write_all(bytes.as_ref()))
            .await
            .expect("the server reads in time");
    }

    /// Reads a frame. Returns `None` at the end of the connection.
    pub(super) async fn frame(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        let read = timeout(self.0.patience, self.0.read_exact(&mut head)).await.expect("a frame in time");
        read.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        timeout(self.0.patience, self.0.read_exact(&mut payload)).await.expect("a payload in time").ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(RawFrame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads the next frame that is neither SETTINGS nor `WINDOW_UPDATE`.
    pub(super) async fn next(&mut self) -> Option<RawFrame> {
        loop {
            let frame = self.frame().await?;
            if !matches!(frame.kind, SETTINGS | WINDOW_UPDATE) {
                return Some(frame);
            }
        }
    }
}
