//! A WebSocket client that sends arbitrary bytes, and an echo server for it that uses the accept loop of this
//! crate.

use std::{sync::Arc, task::Context, time::Duration};

use engineio::{
    Application, CloseReason, Connection, Engine, EngineConfig, Frame, HandshakeRequest, Message,
    SessionHandle,
};
pub(crate) use testkit::frames::{
    BINARY, CLOSE, CONTINUE, FIN, PING, PONG, TEXT, close_frame as close, fragments, frame,
};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Stream, UPGRADE, Wire, http};

const DEADLINE: Duration = Duration::from_secs(30);

struct Echo;
struct EchoConnection(SessionHandle);

impl Application for Echo {
    type Connection = EchoConnection;
    fn on_connect(&self, session: SessionHandle, _: Arc<HandshakeRequest>) -> EchoConnection {
        EchoConnection(session)
    }
}

impl Connection for EchoConnection {
    fn on_message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        let frame = match message {
            Message::Text(text) => Frame::text(text),
            Message::Binary(bytes) => Frame::binary(bytes.into_owned().into()),
        };
        self.0.send(&[frame]).unwrap();
    }
    fn on_close(&mut self, _: CloseReason) {}
}

/// Starts an echo server that accepts messages of 32 MiB. Returns its address.
pub(crate) async fn serve(config: EngineConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = config.max_http_buffer_size(32 << 20).max_buffered(64 << 20).max_pings_per_second(1000);
    tokio::spawn(engineio::serve(listener, Engine::new(Echo, config)).into_future());
    address
}

/// Returns a text message in one frame. The Engine.IO packet type `4` is prepended.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | TEXT, packet(text))
}

pub(crate) fn packet(text: impl AsRef<[u8]>) -> Vec<u8> {
    [b"4", text.as_ref()].concat()
}

/// What the client received from the server.
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

/// Returns the expected echo of a text.
pub(crate) fn said(text: impl AsRef<[u8]>) -> Got {
    Got::Text(packet(text))
}

pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Got {
    Got::Pong(payload.as_ref().to_vec())
}

pub(crate) struct Client {
    wire: Wire,
    /// The extensions that the server accepted.
    #[cfg_attr(not(feature = "compression"), allow(dead_code, reason = "nothing is offered"))]
    pub(crate) extensions: Option<String>,
}

impl Client {
    pub(crate) async fn connect(address: &str, offer: Option<&str>) -> Self {
        let mut stream = Stream::tcp(TcpStream::connect(address).await.unwrap());
        stream.patience = DEADLINE;
        let mut http = http(stream);
        let offer = offer.map_or(String::new(), |offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let headers = format!("{UPGRADE}{offer}");
        let answer = http.request("GET", "EIO=4&transport=websocket", &headers, "").await;
        assert_eq!(answer.status, 101, "{answer:?}");
        let extensions = answer.header("sec-websocket-extensions").map(ToOwned::to_owned);
        let mut client = Self { wire: Wire::from_parts(http.into_parts()), extensions };
        assert!(matches!(client.next().await, Got::Text(open) if open.starts_with(b"0{")));
        client
    }

    /// Sends bytes, and ignores errors if the server has closed.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes).await;
    }

    /// Returns the next frame. The server never fragments its messages.
    pub(crate) async fn next(&mut self) -> Got {
        let Some((first, payload)) = self.wire.frame().await else { return Got::Eof };
        match first {
            0x81 => Got::Text(payload),
            0x82 => Got::Binary(payload),
            0xc1 | 0xc2 => Got::Compressed(payload),
            0x8a => Got::Pong(payload),
            0x88 => Got::Close(payload.first_chunk().map(|&code| u16::from_be_bytes(code))),
            other => panic!("a frame that begins with {other:#x}"),
        }
    }
}

/// The segmentation of the bytes of a case.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// Everything in one write.
    Whole,
    /// One write per frame.
    Frames,
    /// Writes of this many bytes.
    Bytes(usize),
}

/// Sends the frames and checks the received frames. If these do not close the connection, a normal closure
/// must follow.
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
