//! Fuzzes a whole session with packets and attachments in any order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tower_service::Service;

use crate::{Ack, Args, ConnectError, EngineConfig, Handshake, Namespace, Server, ServerConfig, Socket};

/// A timeout that is longer than the sum of all timeouts of a session.
const HANG: Duration = Duration::from_mins(2);
const MAX_LEN: usize = 4096;
const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
/// The separator of the packets in a request or response body.
const SEPARATOR: char = '\u{1e}';

thread_local! {
    // A paused clock advances when all tasks are idle.
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

/// The counters that the handlers increment.
#[derive(Default)]
struct Seen {
    connects: AtomicUsize,
    disconnects: AtomicUsize,
    attachments: AtomicUsize,
    /// The number of events whose attachments exceed the limits.
    over: AtomicUsize,
}

/// Sends each line of the input as a message, and asserts that another session is not affected and that no
/// state remains at the end. A line that begins with `b` is sent as a binary message whose length depends on
/// the length of the line. Requests are separated by empty lines.
pub fn socketio_session(input: &[u8]) {
    RUNTIME.with(|runtime| {
        runtime.block_on(async { timeout(HANG, run(input)).await.expect("it comes to an end") });
    });
}

async fn run(input: &[u8]) {
    let seen = Arc::new(Seen::default());
    let io = server(&seen);
    let mut canary = Client::open(&io).await;
    canary.post("40").await;
    assert!(canary.poll().await.is_some_and(|body| body.starts_with(r#"40{"sid":""#)));

    let input = String::from_utf8_lossy(input).replace(SEPARATOR, "");
    let sent = input.lines().filter(|line| line.starts_with('b')).count();
    let mut client = Client::open(&io).await;
    for messages in input.split("\n\n") {
        let packets: Vec<String> = messages.lines().map(packet).collect();
        client.post(&packets.join(&SEPARATOR.to_string())).await;
    }
    // This message is invalid in every state of the session, so the session is closed after all queued
    // messages were sent.
    client.post("49").await;
    while client.poll().await.is_some() {}

    canary.post(r#"421["mark"]"#).await;
    assert_eq!(canary.poll().await.as_deref(), Some("431[]"));
    assert!(seen.attachments.load(Relaxed) <= sent, "more attachments than were sent");
    assert_eq!(seen.over.load(Relaxed), 0, "attachments beyond the limits");
    io.close().await;
    assert_eq!((io.session_count(), io.socket_count("/"), io.socket_count("/slow")), (0, 0, 0));
    assert_eq!(
        seen.connects.load(Relaxed),
        seen.disconnects.load(Relaxed),
        "a socket was not told of its end"
    );
}

fn server(seen: &Arc<Seen>) -> Server {
    let engine = EngineConfig::default().max_http_buffer_size(MAX_LEN);
    let config = ServerConfig::default().engine(engine).max_namespaces(3_usize).max_connect_attempts(4_usize);
    let root = hooked(Namespace::new("/"), seen);
    let slow = hooked(
        Namespace::with_auth("/slow", async |handshake: Handshake| {
            tokio::task::yield_now().await;
            match handshake.auth::<Option<u8>>() {
                Ok(_) => Ok(()),
                Err(_) => Err(ConnectError::new("no number")),
            }
        }),
        seen,
    );
    Server::with_config(config).namespace(root).namespace(slow)
}

fn hooked(namespace: Namespace<()>, seen: &Arc<Seen>) -> Namespace<()> {
    let (connects, disconnects, args) = (seen.clone(), seen.clone(), seen.clone());
    namespace
        .on_connect(async move |_| {
            connects.connects.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        })
        .on_disconnect(async move |_, _| {
            disconnects.disconnects.fetch_add(1, Relaxed);
        })
        .on("args", async move |socket: Socket, received: Args| {
            let attachments = received.attachments();
            args.attachments.fetch_add(attachments.len(), Relaxed);
            let len: usize = attachments.iter().map(Bytes::len).sum();
            args.over.fetch_add(usize::from(attachments.len() > 10 || len > MAX_LEN), Relaxed);
            tokio::task::yield_now().await;
            // An error means that the client is disconnected.
            let _ = socket.emit("args", &received);
        })
        .on("bytes", async |_, bytes: Bytes| Ack(bytes))
        .on("leave", async |socket: Socket, ()| socket.disconnect())
        .on("mark", async |_, ()| ())
}

/// A polling client without a network.
struct Client {
    io: Server,
    target: String,
}

impl Client {
    async fn open(io: &Server) -> Self {
        let mut client = Self { io: io.clone(), target: OPEN.to_owned() };
        let open = client.poll().await.expect("an open packet");
        let sid = open.strip_prefix(r#"0{"sid":""#).and_then(|rest| rest.split('"').next());
        client.target = format!("{OPEN}&sid={}", sid.expect("a session"));
        client
    }

    async fn post(&mut self, body: &str) {
        let request = Request::post(&self.target).body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        let _ = self.io.call(request.expect("a request")).await;
    }

    /// Returns the body of the next response, or `None` if the session is closed.
    async fn poll(&mut self) -> Option<String> {
        let request = Request::get(&self.target).body(Full::<Bytes>::default()).expect("a request");
        let response = self.io.call(request).await.expect("an answer");
        let is_open = response.status().is_success();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        Some(String::from_utf8(body.to_vec()).expect("text")).filter(|_| is_open)
    }
}

/// Returns the Engine.IO packet for a line of the input.
fn packet(line: &str) -> String {
    match line.strip_prefix('b') {
        // Each character is mapped to three bytes.
        Some(rest) => format!("b{}", "AAAA".repeat(rest.len())),
        None => format!("4{line}"),
    }
}
