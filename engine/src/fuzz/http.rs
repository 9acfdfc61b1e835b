//! A fuzz target for a complete server, starting with the first byte of a connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::packets::frame_of;
use crate::{
    Application, CloseReason, Connection, Connections, Engine, EngineConfig, HandshakeRequest, ListenConfig,
    Message, SessionHandle,
};

/// The time after which a connection counts as hanging. It is longer than the sum of all timeouts of a
/// session.
const HANG: Duration = Duration::from_mins(2);
const MAX_LEN: usize = 4096;
const PATH: &str = "/socket.io/";
const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
/// The separator between the bytes of concurrent connections.
const NEXT: &[u8] = b"\n---\n";
/// The placeholder for the id of a polling session.
const SID: &[u8] = b"{sid}";

thread_local! {
    // The clock is virtual and advances when the runtime is idle.
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

/// Serves up to three concurrent connections. The first byte sets the length of the pieces in which the input
/// is sent. The server must respond to or close each connection, regardless of the input, and must still
/// serve another client.
pub fn http(input: &[u8]) {
    let Some((&piece, bytes)) = input.split_first() else { return };
    RUNTIME.with(|runtime| runtime.block_on(serve(usize::from(piece), bytes)));
}

async fn serve(piece: usize, bytes: &[u8]) {
    let config = EngineConfig::default().max_http_buffer_size(MAX_LEN).allow_eio3(piece % 2 == 1);
    #[cfg(feature = "compression")]
    let config = config.per_message_deflate(crate::PerMessageDeflate::default());
    // Without HTTP compression, polls of open sessions are processed on the fast path.
    #[cfg(feature = "compression")]
    let config =
        if piece / 2 % 2 == 1 { config.http_compression(crate::HttpCompression::default()) } else { config };
    let engine = Engine::new(Echo::default(), config);
    let sid = open(&engine).await;

    let connections: Vec<_> = cut(bytes, NEXT)
        .take(3)
        .map(|part| {
            let bytes: Vec<&[u8]> = cut(part, SID).collect();
            let (engine, bytes) = (engine.clone(), bytes.join(sid.as_bytes()));
            tokio::spawn(converse(engine, bytes, piece, ListenConfig::default()))
        })
        .collect();
    for connection in connections {
        let received = timeout(HANG, connection).await.expect("it is answered or closed").expect("no panic");
        // Each request has a response of bounded size, and each message has one echo.
        assert!(received.len() <= 64 * 1024 + bytes.len() * 64, "{} bytes", received.len());
    }

    let canary = format!("GET {OPEN} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let answer = converse(engine.clone(), canary, 0, ListenConfig::default());
    let answer = timeout(HANG, answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));

    engine.close().await;
    assert_eq!(engine.session_count(), 0);
    assert_eq!(engine.application().0.load(Ordering::Relaxed), 0, "a session was not told of its end");
}

/// Sends the same bytes to a server with the short path and to one without it, and compares the status codes of the
/// responses. The first byte sets the length of the pieces in which the input is sent.
pub fn short_path(input: &[u8]) {
    let Some((&piece, bytes)) = input.split_first() else { return };
    // hyper rejects these characters in a target, which the short path escapes.
    if bytes.iter().any(|byte| b"\"<>`".contains(byte)) {
        return;
    }
    let [with, without] = [true, false].map(|short_path| {
        RUNTIME.with(|runtime| {
            runtime.block_on(async {
                let config = EngineConfig::default()
                    .max_http_buffer_size(MAX_LEN)
                    .max_pipelined_handshakes(u32::MAX)
                    .allow_eio3(piece % 2 == 1);
                let engine = Engine::new(Echo::default(), config);
                let sid = open(&engine).await;
                let bytes = cut(bytes, SID).collect::<Vec<_>>().join(sid.as_bytes());
                let listen = ListenConfig::default().short_path(short_path);
                let received = converse(engine, bytes, usize::from(piece), listen);
                let received = timeout(HANG, received).await.expect("it is answered or closed");
                (statuses(&received), String::from_utf8_lossy(&received).into_owned())
            })
        })
    });
    // Only hyper answers a body that breaks off. It answers a malformed head that breaks off only if it has received
    // the head in one piece.
    let (short, long) =
        if with.0.len() < without.0.len() { (&with.0, &without.0) } else { (&without.0, &with.0) };
    let is_alike = short == long || [&short[..], &[400]].concat() == *long;
    assert!(is_alike, "{}\n---\n{}\n---\n{}", String::from_utf8_lossy(bytes), with.1, without.1);
}

/// Returns the status codes of responses, up to the first switch to WebSocket.
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while bytes.starts_with(b"HTTP/1.") {
        let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let Some(status) = head.get(9..12).and_then(|status| status.parse().ok()) else { break };
        statuses.push(status);
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        bytes = bytes.get(end + 4 + length..).unwrap_or_default();
        if status == 101 {
            break;
        }
    }
    statuses
}

/// Opens a polling session.
async fn open(engine: &Engine<Echo>) -> String {
    let request = Request::get(OPEN).body(Full::<Bytes>::default()).expect("a request");
    let body = engine.handle(request).await.into_body().collect().await.expect("a body").to_bytes();
    let body = std::str::from_utf8(&body).expect("text");
    let sid = body.strip_prefix(r#"0{"sid":""#).and_then(|rest| rest.split('"').next());
    sid.expect("an open packet").to_owned()
}

/// Sends all bytes, closes the sending side, and reads until the server closes the connection.
async fn converse(engine: Engine<Echo>, bytes: Vec<u8>, piece: usize, listen: ListenConfig) -> Vec<u8> {
    let (client, server) = duplex(16 * 1024);
    let (end, ended) = oneshot::channel::<()>();
    let (sender, listener) = mpsc::channel(1);
    sender.try_send(server).expect("room for one");
    let shutdown = async {
        let _ = ended.await;
    };
    let serve = crate::serve(crate::ChannelListener::new(listener), engine.clone())
        .with_short_path(&engine, PATH)
        .with_connections(Connections::new(listen))
        .with_graceful_shutdown(shutdown);
    let serving = tokio::spawn(serve.into_future());
    let received = exchange(client, bytes, piece).await;
    drop(end);
    serving.await.expect("no panic").expect("no error");
    received
}

async fn exchange(client: DuplexStream, bytes: Vec<u8>, piece: usize) -> Vec<u8> {
    let (mut read, mut write) = split(client);
    let writing = tokio::spawn(async move {
        // A minimum piece length keeps the number of writes of a large input low.
        let piece = if piece == 0 { bytes.len() } else { piece.max(bytes.len() / 64) };
        for piece in bytes.chunks(piece.max(1)) {
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // A response that is ready is sent before the end of the client aborts its request.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let _ = write.shutdown().await;
    });
    let mut received = Vec::new();
    let _ = read.read_to_end(&mut received).await;
    writing.await.expect("no panic");
    received
}

/// Splits `bytes` at the separator.
fn cut<'a>(bytes: &'a [u8], separator: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let at = bytes.windows(separator.len()).position(|window| window == separator);
        rest = at.map(|at| &bytes[at + separator.len()..]);
        Some(at.map_or(bytes, |at| &bytes[..at]))
    })
}

/// An echo application that counts the sessions whose `closed` has not been called.
#[derive(Default)]
struct Echo(Arc<AtomicUsize>);

struct EchoConnection {
    session: SessionHandle,
    open: Arc<AtomicUsize>,
}

impl Application for Echo {
    type Connection = EchoConnection;

    fn on_connect(&self, session: SessionHandle, _: Arc<HandshakeRequest>) -> EchoConnection {
        self.0.fetch_add(1, Ordering::Relaxed);
        EchoConnection { session, open: self.0.clone() }
    }
}

impl Connection for EchoConnection {
    fn on_message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        let len = match &message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        };
        assert!(len <= MAX_LEN);
        // A closed session needs no echo.
        let _ = self.session.send(&[frame_of(&message)]);
    }

    fn on_close(&mut self, _: CloseReason) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
