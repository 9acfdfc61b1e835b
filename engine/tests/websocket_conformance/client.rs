//! A WebSocket client that sends any bytes, and an echo server for it on our own accept path.

use std::{sync::Arc, task::Context, time::Duration};

use engineio::{
    Application, CloseReason, Connection, Connections, Engine, EngineConfig, Frame, HandshakeRequest,
    Message, SessionHandle,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUE: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const DEADLINE: Duration = Duration::from_secs(30);

struct Echo;
struct EchoConnection(SessionHandle);

impl Application for Echo {
    type Connection = EchoConnection;
    fn connect(&self, session: SessionHandle, _: Arc<HandshakeRequest>) -> EchoConnection {
        EchoConnection(session)
    }
}

impl Connection for EchoConnection {
    fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        let frame = match message {
            Message::Text(text) => Frame::text(text),
            Message::Binary(bytes) => Frame::binary(bytes.into_owned().into()),
        };
        self.0.send(&[frame]).unwrap();
    }
    fn closed(&mut self, _: CloseReason) {}
}

/// An echo server that takes messages of 32 MiB.
pub(crate) async fn serve(config: EngineConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = config.max_http_buffer_size(32 << 20).max_buffered(64 << 20).max_pings_per_second(1000);
    tokio::spawn(engineio::serve(
        listener,
        Engine::new(Echo, config),
        Connections::default(),
        std::future::pending(),
    ));
    address
}

/// A masked frame: its first byte, and its payload.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
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

/// A whole text message: an Engine.IO message, whose type is `4`.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | TEXT, packet(text))
}

pub(crate) fn packet(text: impl AsRef<[u8]>) -> Vec<u8> {
    [b"4", text.as_ref()].concat()
}

pub(crate) fn close(code: u16) -> Vec<u8> {
    frame(FIN | CLOSE, code.to_be_bytes())
}

/// A message in frames of at most `size` bytes.
pub(crate) fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = payload.len().div_ceil(size) - 1;
    let first_byte = |index| if index == 0 { opcode } else { CONTINUE } | if index == last { FIN } else { 0 };
    payload.chunks(size).enumerate().map(|(index, chunk)| frame(first_byte(index), chunk)).collect()
}

/// What the server sent.
#[derive(PartialEq, Eq, Clone)]
pub(crate) enum Got {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Compressed(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Eof,
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |bytes: &[u8]| {
            format!("{} bytes: {:?}", bytes.len(), String::from_utf8_lossy(&bytes[..bytes.len().min(40)]))
        };
        match self {
            Self::Text(bytes) => write!(f, "text of {}", shown(bytes)),
            Self::Binary(bytes) => write!(f, "binary of {}", shown(bytes)),
            Self::Compressed(bytes) => write!(f, "compressed message of {} bytes", bytes.len()),
            Self::Pong(bytes) => write!(f, "pong of {}", shown(bytes)),
            Self::Close(code) => write!(f, "close {code:?}"),
            Self::Eof => f.write_str("end of stream"),
        }
    }
}

/// The echo of a text.
pub(crate) fn said(text: impl AsRef<[u8]>) -> Got {
    Got::Text(packet(text))
}

pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Got {
    Got::Pong(payload.as_ref().to_vec())
}

pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    at: usize,
    /// The server's answer to the offer.
    #[cfg_attr(not(feature = "compression"), allow(dead_code, reason = "nothing is offered"))]
    pub(crate) extensions: Option<String>,
}

impl Client {
    pub(crate) async fn connect(address: &str, offer: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let offer = offer.map_or(String::new(), |offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let request = format!(
            "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let extensions = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        let extensions = extensions.map(ToOwned::to_owned);
        let mut client = Self { stream, read: Vec::new(), at: 0, extensions };
        assert!(matches!(client.next().await, Got::Text(open) if open.starts_with(b"0{")));
        client
    }

    /// Writes, and looks away from a server that has closed.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame; every one of the server is whole.
    pub(crate) async fn next(&mut self) -> Got {
        let Some(&[first, len]) = self.peek(2).await.as_deref() else { return Got::Eof };
        let (header, len) = match len {
            126 => {
                let len = self.peek(4).await.unwrap();
                (4, usize::from(u16::from_be_bytes([len[2], len[3]])))
            }
            127 => {
                let len = self.peek(10).await.unwrap();
                (10, u64::from_be_bytes(len[2..].try_into().unwrap()) as usize)
            }
            len => (2, usize::from(len)),
        };
        let payload = self.peek(header + len).await.expect("a whole frame")[header..].to_vec();
        self.at += header + len;
        match first {
            0x81 => Got::Text(payload),
            0x82 => Got::Binary(payload),
            0xc1 | 0xc2 => Got::Compressed(payload),
            0x8a => Got::Pong(payload),
            0x88 => Got::Close(payload.first_chunk().map(|&code| u16::from_be_bytes(code))),
            other => panic!("a frame that begins with {other:#x}"),
        }
    }

    /// The next bytes, once so many are here.
    async fn peek(&mut self, len: usize) -> Option<Vec<u8>> {
        if self.at > 1 << 20 {
            self.read.drain(..std::mem::take(&mut self.at));
        }
        while self.read.len() < self.at + len {
            let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.read)).await;
            if !read.expect("the server goes on").is_ok_and(|read| read > 0) {
                return None;
            }
        }
        Some(self.read[self.at..self.at + len].to_vec())
    }
}

/// How the bytes of a case are cut on their way.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// Not at all: all with one write.
    Whole,
    /// A write for each frame.
    Frames,
    /// So many bytes at a time.
    Bytes(usize),
}

/// Sends the frames, then expects exactly what is said, and unless that closes the connection, an orderly end.
pub(crate) async fn check(address: &str, name: &str, frames: &[Vec<u8>], cut: Cut, expected: &[Got]) {
    let mut client = Client::connect(address, None).await;
    let whole = frames.concat();
    let pieces: Vec<&[u8]> = match cut {
        Cut::Whole => vec![&whole],
        Cut::Frames => frames.iter().map(Vec::as_slice).collect(),
        Cut::Bytes(size) => whole.chunks(size).collect(),
    };
    for piece in pieces {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    for (index, expected) in expected.iter().enumerate() {
        assert_eq!(&client.next().await, expected, "case {name}, answer {index}");
    }
    if !matches!(expected.last(), Some(Got::Close(_))) {
        client.send(&close(1000)).await;
        assert_eq!(client.next().await, Got::Close(Some(1000)), "case {name}");
    }
    assert_eq!(client.next().await, Got::Eof, "case {name}");
}
