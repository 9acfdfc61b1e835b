//! Log lines that explain why nothing happens, for example that an event has no handler.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use socketio::{ConnectError, EngineConfig, Event, Handshake, Namespace, Next, Server, ServerConfig, Socket};
use tokio::{
    sync::RwLockReadGuard,
    time::{Duration, timeout},
};
use tracing::{
    Dispatch, Level,
    subscriber::{DefaultGuard, NoSubscriber},
};

use crate::support::{Client, Http, LOG_RATE, Polling, eventually, serve, text};

const PATIENCE: Duration = Duration::from_secs(3);

/// While there is only one subscriber, `tracing` asks the thread that first reaches a log line whether the line is
/// enabled, and not the threads of other tests. Two subscribers that log nothing turn this off.
static SILENT: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));

/// Captures the log of this thread.
#[derive(Clone)]
pub(crate) struct Lines {
    bytes: Arc<Mutex<Vec<u8>>>,
    _guard: Arc<(DefaultGuard, RwLockReadGuard<'static, ()>)>,
}

impl Lines {
    pub(crate) async fn new(level: Level) -> Self {
        LazyLock::force(&SILENT);
        let rate = LOG_RATE.read().await;
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer(bytes.clone());
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self { bytes, _guard: Arc::new((tracing::subscriber::set_default(subscriber), rate)) }
    }

    /// Returns the lines that contain all of `words`.
    pub(crate) fn with(&self, words: &[&str]) -> Vec<String> {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let lines = text.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        lines.map(str::to_owned).collect()
    }

    /// Waits until exactly `count` lines contain all of `words`.
    pub(super) async fn wait(&self, count: usize, words: &[&str]) {
        let came = timeout(PATIENCE, eventually(|| self.with(words).len() >= count)).await;
        assert!(came.is_ok(), "{words:?}: {:#?}", self.with(&[]));
        assert_eq!(self.with(words).len(), count, "{words:?}: {:#?}", self.with(&[]));
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn namespace(path: &str) -> Namespace {
    Namespace::new(path).on("mark", async |_, ()| ()).on("number", async |_, _: u32| ())
}

#[tokio::test]
async fn sessions_and_sockets_come_and_go() {
    let lines = Lines::new(Level::DEBUG).await;
    let host = serve(Server::new().namespace(namespace("/chat")).namespace(namespace("/"))).await;
    let mut client = Client::open(&host).await;
    let id = client.enter("/chat").await;
    lines.wait(1, &["DEBUG session{", r#"transport="websocket""#, "session opened"]).await;
    lines.wait(1, &["DEBUG session{", "socket joined", r#"namespace="/chat""#, &id]).await;
    client.close().await;
    lines.wait(1, &["DEBUG session{", "socket left", "/chat", &id, r#"reason="transport close""#]).await;
    lines.wait(1, &["DEBUG session{", "session closed", r#"reason="transport close""#, "duration="]).await;

    let mut polling = Polling::join(&host).await;
    lines.wait(1, &[r#"transport="polling""#, "session opened"]).await;
    polling.send("41").await;
    lines.wait(1, &["socket left", r#"namespace="/""#, r#"reason="client namespace disconnect""#]).await;
    polling.post("1").await;
    lines.wait(2, &["session closed"]).await;
}

#[tokio::test]
async fn the_first_of_a_kind_and_namespace_is_a_warning() {
    let lines = Lines::new(Level::DEBUG).await;
    let wrapped = namespace("/wrapped").wrap(async |_, event: Event, next: Next<()>| next.run(event).await);
    let refusing =
        Namespace::with_auth("/refusing", async |_: Handshake| Err::<(), _>(ConnectError::new("no ticket")));
    let games =
        Namespace::with_auth("/game-{id}", async |_: Handshake| Err::<(), _>(ConnectError::new("game over")));
    let io = Server::new().namespace(namespace("/")).namespace(wrapped).namespace(refusing).dynamic(games);
    let host = serve(io).await;
    let mut client = Client::join(&host).await;
    client.enter("/wrapped").await;

    let long = "e".repeat(1000);
    for (namespace, prefix) in [("/", ""), ("/wrapped", "/wrapped,")] {
        for n in 1..3 {
            client.send(format!(r#"42{prefix}["unheard",1]"#)).await;
            client.send(format!(r#"42{prefix}["{long}"]"#)).await;
            let answer = client.ask(format!(r#"42{prefix}{n}["number","text"]"#)).await;
            assert!(answer.contains("invalid arguments"), "{answer}");
        }
        let namespace = format!("namespace={namespace:?}");
        let unheard = ["event without a handler", &namespace];
        lines.wait(1, &[&unheard[..], &["WARN", r#"event="unheard""#]].concat()).await;
        lines.wait(3, &[&unheard[..], &["DEBUG"]].concat()).await;
        // Long names are truncated.
        assert!(lines.with(&[&long[..257]]).is_empty());
        assert!(lines.with(&[&unheard[..], &["DEBUG", &long[..256]]].concat()).len() == 2);
        let misfit = ["the arguments do not fit", &namespace, r#"event="number""#, "expected u32"];
        lines.wait(1, &[&misfit[..], &["WARN"]].concat()).await;
        lines.wait(1, &[&misfit[..], &["DEBUG"]].concat()).await;
    }

    for (path, message) in
        [("/nowhere", "Invalid namespace"), ("/refusing", "no ticket"), ("/game-7", "game over")]
    {
        for _ in 0..2 {
            let answer = client.ask(format!("40{path},")).await;
            assert_eq!(answer, format!(r#"44{path},{{"message":"{message}"}}"#));
        }
        let refused = ["refused", &format!("namespace={path:?}"), &format!("reason={message:?}")];
        lines.wait(1, &[&refused[..], &["WARN"]].concat()).await;
        lines.wait(1, &[&refused[..], &["DEBUG"]].concat()).await;
    }
    assert_eq!(host.io.connect_errors(), 6);
}

#[tokio::test]
async fn the_default_level_names_the_cause() {
    let lines = Lines::new(Level::INFO).await;
    let config = ServerConfig::default().max_rooms(1_usize).max_namespaces(1_usize).engine(
        EngineConfig::default()
            .max_buffered(1000_usize)
            .max_buffered_hard(2000_usize)
            .max_http_buffer_size(2000_usize),
    );
    let chat = namespace("/")
        .on("rooms", async |socket: Socket, ()| {
            let _ = (socket.join("a"), socket.join("b"));
        })
        .on("flood", async |socket: Socket, ()| {
            let long = "x".repeat(400);
            (0..10).try_for_each(|_| socket.namespace().emit("flood", &long))
        });
    let host = serve(Server::with_config(config).namespace(chat)).await;
    let mut client = Client::join(&host).await;
    for (packet, cause) in [
        (r#"42["rooms"]"#.to_owned(), r#"limit="max_rooms""#),
        ("40/other,".to_owned(), r#"limit="max_namespaces""#),
        (format!(r#"42["{}"]"#, "e".repeat(4097)), "limit=max_http_buffer_size"),
    ] {
        client.send(packet).await;
        lines.wait(1, &["WARN", "limit", cause]).await;
    }
    let mut client = Client::join(&host).await;
    client.send(r#"42["flood"]"#).await;
    lines.wait(1, &["WARN", "slow client disconnected", "limit=max_buffered_hard", "2000 bytes"]).await;

    for _ in 0..2 {
        let mut client = Client::join(&host).await;
        client.write(text("49")).await;
        client.ended().await;
    }
    lines.wait(1, &["WARN", "protocol violation", "UnknownType"]).await;

    let path = "/socket.io/?EIO=4&transport=polling";
    let answer = Http::connect(&host).await.request("GET", path, "Origin: http://evil.example\r\n", "").await;
    assert_eq!(answer.status, 403);
    lines.wait(1, &["WARN", "origin refused", "http://evil.example"]).await;
}

/// Panics when it is deserialized.
struct Bomb;

impl<'de> serde::Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a type")
    }
}

#[tokio::test]
async fn an_event_whose_arguments_panic_has_a_handler() {
    let lines = Lines::new(Level::DEBUG).await;
    let namespace = Namespace::new("/").on("bomb", async |_: Socket, _: Bomb| ());
    let host = serve(Server::new().namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    assert_eq!(client.ask(r#"421["bomb",1]"#).await, r#"431[{"error":"internal error"}]"#);
    lines.wait(1, &["event handler failed", "bomb"]).await;
    assert_eq!(lines.with(&["event without a handler"]), Vec::<String>::new());
    // The socket has room for the next handler.
    assert_eq!(client.ask(r#"422["bomb",1]"#).await, r#"432[{"error":"internal error"}]"#);
}
