//! Searches for input that uses disproportionate CPU time.

use std::{collections::HashMap, future::Future, sync::OnceLock, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use rustix::time::{ClockId, clock_gettime};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    runtime::Builder,
    sync::mpsc,
    time::timeout,
};
use tower_service::Service;

use crate::{Ack, Args, EngineConfig, Namespace, Server, ServerConfig, Socket};

/// A timeout that is longer than the sum of all timeouts of a session.
const HANG: Duration = Duration::from_mins(2);
/// The size in bytes to which the input is repeated, so that quadratic costs become measurable.
const BYTES: usize = 64 * 1024;
/// The maximum CPU time per byte, as a multiple of the CPU time per byte of an echo. The test `attack-costs`
/// in `instruction-counts` measures more precisely and has a lower limit.
const MAX_FACTOR: u32 = 20;
const ECHO: &str =
    r#"2["echo",{"id":123456,"from":"Ann","text":"hello to all who are in this room, and to others"}]"#;
const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
/// The text in the input that is replaced by the id of a polling session.
const SID: &str = "{sid}";

/// Specifies how the input is sent to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Each line is a message on a WebSocket in the namespace `/`. Lines that begin with `b` are binary
    /// messages.
    Messages,
    /// Each line is a packet on a WebSocket in the namespace `/`.
    Packets,
    /// Like `Packets`, but on a WebSocket of protocol 3.
    OldPackets,
    /// Each line is a packet on a WebSocket that probes the upgrade of a polling session.
    Probe,
    /// The input is sent as raw bytes after the WebSocket upgrade.
    Frames,
    /// The input is sent as raw bytes on a new connection.
    Requests,
}

const WAYS: [Way; 6] = [Way::Messages, Way::Packets, Way::OldPackets, Way::Probe, Way::Frames, Way::Requests];

/// Asserts that the CPU time per byte of input is at most `MAX_FACTOR` times the CPU time per byte of an
/// echo. The first byte selects how the remaining bytes are sent.
pub fn slow(input: &[u8]) {
    static OF_ECHO: OnceLock<Duration> = OnceLock::new();
    let Some((&way, input)) = input.split_first() else { return };
    let way = WAYS[usize::from(way) % WAYS.len()];
    let bytes = repeat(way, input);
    let echo = *OF_ECHO.get_or_init(|| {
        let echo = repeat(Way::Messages, ECHO.as_bytes());
        let mut times = [(); 5].map(|()| time(Way::Messages, &echo));
        times.sort();
        times[2]
    });
    let most = echo * MAX_FACTOR * u32::try_from(bytes.len().div_ceil(BYTES).max(1)).unwrap_or(u32::MAX);
    // Measure several times, because other processes may disturb a measurement.
    let times: Vec<_> = (0..5).map(|_| time(way, &bytes)).take_while(|&time| time > most).collect();
    assert!(times.len() < 5, "{times:?} for {} bytes by {way:?}, where an echo takes {echo:?}", bytes.len());
}

/// Repeats the input up to a size of [`BYTES`].
fn repeat(way: Way, input: &[u8]) -> Vec<u8> {
    let lines = input.split(|&byte| byte == b'\n');
    let unit = match way {
        Way::Messages => lines.flat_map(|line| message(line, "4")).collect(),
        Way::Packets | Way::OldPackets | Way::Probe => lines.flat_map(|line| message(line, "")).collect(),
        Way::Frames | Way::Requests => input.to_vec(),
    };
    unit.repeat((BYTES / unit.len().max(1)).max(1))
}

/// Returns the WebSocket frame for a line, which is either a text frame with a packet type or a binary frame.
fn message(line: &[u8], packet_type: &str) -> Vec<u8> {
    match line.strip_prefix(b"b") {
        Some(rest) => frame(0x82, rest),
        None => frame(0x81, &[packet_type.as_bytes(), line].concat()),
    }
}

/// Returns a WebSocket frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len as u8),
        Ok(len) => {
            frame.push(0xfe);
            frame.extend(len.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Returns the CPU time that is used to serve the given bytes.
fn time(way: Way, bytes: &[u8]) -> Duration {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
    };
    // A paused clock advances when all tasks are idle.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let begin = now();
    runtime.block_on(async { timeout(HANG, serve(way, bytes)).await.expect("it comes to an end") });
    now().saturating_sub(begin)
}

async fn serve(way: Way, bytes: &[u8]) {
    let io = server();
    let (listener, connections) = mpsc::channel(1);
    tokio::spawn(io.clone().serve(engineio::ChannelListener::new(connections)).into_future());
    let (client, served) = duplex(BYTES);
    listener.send(served).await.expect("the server accepts");
    let query = match way {
        Way::OldPackets => "EIO=3&transport=websocket".to_owned(),
        Way::Probe => format!("EIO=4&transport=websocket&sid={}", open(&io).await),
        _ => "EIO=4&transport=websocket".to_owned(),
    };
    let upgrade = format!(
        "GET /socket.io/?{query} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let begin = match way {
        Way::Messages | Way::Packets | Way::Frames => [upgrade.as_bytes(), &frame(0x81, b"40")].concat(),
        Way::OldPackets | Way::Probe => upgrade.into_bytes(),
        Way::Requests => Vec::new(),
    };
    if way == Way::Requests && bytes.windows(SID.len()).any(|window| window == SID.as_bytes()) {
        let bytes = String::from_utf8_lossy(bytes).replace(SID, &open(&io).await);
        exchange(client, &[bytes.as_bytes()]).await;
    } else {
        exchange(client, &[&begin, bytes]).await;
    }
}

/// Sends the parts, closes the write side, and reads until the server closes the connection.
async fn exchange(client: DuplexStream, parts: &[&[u8]]) {
    let (mut read, mut write) = split(client);
    let writing = async {
        for part in parts {
            // An error means that the server has already closed the connection.
            let _ = write.write_all(part).await;
        }
        let _ = write.shutdown().await;
    };
    let reading = async {
        let mut received = Vec::with_capacity(BYTES);
        while read.read_buf(&mut received).await.is_ok_and(|read| read > 0) {
            received.clear();
        }
    };
    tokio::join!(writing, reading);
}

/// Opens a polling session and returns its id.
async fn open(io: &Server) -> String {
    let request = Request::get(OPEN).body(Full::<Bytes>::default()).expect("a request");
    let body = io.clone().call(request).await.expect("an answer").into_body();
    let body = body.collect().await.expect("a body").to_bytes();
    let body = std::str::from_utf8(&body).expect("text");
    let sid = body.strip_prefix(r#"0{"sid":""#).and_then(|rest| rest.split('"').next());
    sid.expect("an open packet").to_owned()
}

fn server() -> Server {
    fn read<T>(_: T) -> impl Future<Output = ()> {
        std::future::ready(())
    }
    let namespace = Namespace::new("/")
        .on("echo", async |socket: Socket, args: Args| socket.emit("echo", &args))
        .on("ack", async |_, value: Value| Ack(value))
        .on("each", async |_, args: Args| {
            (0..args.len()).filter_map(|at| args.get::<IgnoredAny>(at).ok()).for_each(drop);
        })
        .on("nothing", |_, (): ()| read(()))
        .on("values", |_, values: Vec<Value>| read(values))
        .on("map", |_, map: HashMap<String, Value>| read(map))
        .on("text", |_, text: String| read(text))
        .on("numbers", |_, numbers: Vec<f64>| read(numbers))
        .on("bytes", |_, bytes: Bytes| read(bytes))
        .on("list", |_, list: Vec<Bytes>| read(list))
        .on("tuple", |_, tuple: (String, Option<u8>, Vec<bool>)| read(tuple))
        .on("join", async |socket: Socket, room: String| socket.join(room))
        .on("leave", async |socket: Socket, room: String| socket.leave(&room));
    // Creating a session is far more expensive per byte than an echo. The number of sessions is limited,
    // because the cost of creating sessions is not measured here.
    let engine = EngineConfig::default().allow_eio3(true).max_handshakes_per_second(10);
    Server::with_config(ServerConfig::default().engine(engine))
        .namespace(namespace)
        .namespace(Namespace::new("/other"))
        .dynamic(Namespace::new("/dynamic-{n}"))
}
