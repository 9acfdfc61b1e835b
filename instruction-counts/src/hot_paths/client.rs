//! A client that expects known responses.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    sync::mpsc,
};

/// The sender of new connections to the server.
pub(crate) type Door = mpsc::Sender<DuplexStream>;

/// The buffer size of a connection. It exceeds all bytes that are in flight at once.
const ROOM: usize = 64 * 1024;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// The key is that of RFC 6455, section 1.3.
pub(crate) const UPGRADE: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: hot\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: DuplexStream,
    received: Vec<u8>,
}

/// An expected response, as its length and its last bytes. Ids and dates vary, so other bytes are not
/// compared.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) len: usize,
    pub(crate) end: Vec<u8>,
}

impl Client {
    pub(crate) async fn open(door: &Door) -> Self {
        let (stream, server) = duplex(ROOM);
        door.send(server).await.expect("the server accepts");
        Self { stream, received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// Reads an expected response.
    pub(crate) async fn take(&mut self, answer: &Answer) {
        if self.received.len() < answer.len {
            self.received.resize(answer.len, 0);
        }
        let received = &mut self.received[..answer.len];
        self.stream.read_exact(received).await.expect("the server answers");
        assert!(received.ends_with(&answer.end), "another answer: {}", String::from_utf8_lossy(received));
    }

    /// Waits for the end of the connection.
    pub(crate) async fn end(&mut self) {
        let left = self.stream.read_to_end(&mut self.received).await;
        assert_eq!(left.expect("a graceful end"), 0, "something came behind the close frame");
    }

    /// Reads an HTTP response of unknown length.
    pub(crate) async fn response(&mut self) -> Vec<u8> {
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(self.stream.read_u8().await.expect("the server answers"));
        }
        let head = String::from_utf8_lossy(&response);
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let len: usize = len.map_or(0, |len| len.parse().expect("a number"));
        self.rest(response, len).await
    }

    /// Reads a frame of unknown length, below 126 bytes.
    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        let head = self.rest(Vec::new(), 2).await;
        let len = head[1].into();
        self.rest(head, len).await
    }

    /// Opens a polling session and returns its id.
    pub(crate) async fn handshake(&mut self, request: &[u8]) -> String {
        self.send(request).await;
        let open = String::from_utf8(self.response().await).expect("text");
        let (_, sid) = open.split_once("sid").expect("the id of a session");
        // The quotes may be escaped.
        let sid = sid.trim_start_matches(['\\', '"', ':']);
        sid[..sid.find(['\\', '"']).expect("its end")].to_owned()
    }

    /// Sends the bytes while reading, until `mark` is received. Without a mark, reads until the server closes
    /// the connection.
    pub(crate) async fn flood(&mut self, bytes: &[u8], mark: Option<&[u8]>) {
        let (mut read, mut write) = split(&mut self.stream);
        let received = &mut self.received;
        let writing = async {
            // A write may fail because the server may close the connection early.
            let _ = write.write_all(bytes).await;
            if mark.is_none() {
                let _ = write.shutdown().await;
            }
        };
        let reading = async {
            received.clear();
            // The mark is among the last bytes.
            let has = |received: &[u8]| {
                let last = &received[received.len().saturating_sub(64)..];
                mark.is_some_and(|mark| last.windows(mark.len()).any(|bytes| bytes == mark))
            };
            while !has(received) {
                received.drain(..received.len().saturating_sub(64));
                if read.read_buf(received).await.expect("the server answers") == 0 {
                    let shown = String::from_utf8_lossy(received);
                    return assert!(mark.is_none(), "the server ended it: {shown}");
                }
            }
        };
        tokio::join!(writing, reading);
    }

    async fn rest(&mut self, mut begin: Vec<u8>, len: usize) -> Vec<u8> {
        let at = begin.len();
        begin.resize(at + len, 0);
        self.stream.read_exact(&mut begin[at..]).await.expect("the server answers");
        begin
    }
}

impl From<Vec<u8>> for Answer {
    fn from(end: Vec<u8>) -> Self {
        Self { len: end.len(), end }
    }
}

/// Returns a masked frame: a text, an attachment, or a close frame.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, payload.len());
    frame[1] |= 0x80;
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Returns a frame without a mask, as the server sends it.
pub(crate) fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, payload.len());
    frame.extend(payload);
    frame
}

fn head(opcode: u8, len: usize) -> Vec<u8> {
    if len < 126 {
        return vec![0x80 | opcode, len as u8];
    }
    let [high, low] = u16::try_from(len).expect("no payload is longer").to_be_bytes();
    vec![0x80 | opcode, 126, high, low]
}
