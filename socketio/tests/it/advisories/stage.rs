//! A server, an attacker, and a client that sends events all the time (the canary).

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use socketio::{Ack, Args, ConnectError, EngineConfig, Handshake, Namespace, Server, ServerConfig, Socket};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
    select,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, interval},
};

use crate::support::{Client, Heard, Host, eventually, log, serve, within};

/// Maximum latency of an acknowledgement for the canary. Generous, because the machine may be busy.
const BOUND: Duration = Duration::from_secs(2);
const PACE: Duration = Duration::from_millis(10);

pub(crate) struct Stage {
    pub(crate) host: Host,
    /// The arguments of each `args` event, as JSON text.
    pub(crate) handled: Heard<String>,
    canary: JoinHandle<Duration>,
    stop: oneshot::Sender<()>,
    tasks: usize,
}

/// Returns timeouts that are short enough to wait for and long enough for a slow machine.
pub(crate) fn engine() -> EngineConfig {
    EngineConfig::default()
        .ping_interval(Duration::from_secs(4))
        .ping_timeout(Duration::from_secs(2))
        .upgrade_timeout(Duration::from_millis(500))
        .close_timeout(Duration::from_millis(500))
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(ServerConfig::default().engine(engine())).await
    }

    pub(crate) async fn with(config: ServerConfig) -> Self {
        let listen = config.get_listen().clone().short_path(testkit::uses_short_path());
        let config = config.listen(listen);
        let (notes, handled) = log();
        let root = Namespace::new("/")
            .on("args", async move |_: Socket, args: Args| notes.note(args.json().to_owned()))
            .on("value", async |_, value: Value| Ack(value))
            .on("bytes", async |_, bytes: Bytes| Ack(bytes.len()))
            .on("flood", async |socket: Socket, text: String| {
                // Ends when the client, which does not read, is disconnected.
                while socket.emit("flood", &text).is_ok() {
                    tokio::task::yield_now().await;
                }
            })
            .on("mark", async |_, ()| ());
        let refusing = Namespace::with_auth("/refusing", async |_: Handshake| {
            tokio::task::yield_now().await;
            Err::<(), _>(ConnectError::new("no"))
        });
        let cage = Namespace::new("/canary").on("chirp", async |_, n: u32| Ack(n));
        let io = Server::with_config(config).namespace(root).namespace(refusing).namespace(cage);
        let host = serve(io).await;
        let mut client = Client::open(&host).await;
        client.enter("/canary").await;
        let (stop, stopped) = oneshot::channel();
        let canary = tokio::spawn(sing(client, stopped));
        let tasks = Handle::current().metrics().num_alive_tasks();
        Self { host, handled, canary, stop, tasks }
    }

    /// Connects an attacker to the namespace `/`.
    pub(crate) async fn client(&self) -> Client {
        Client::join(&self.host).await
    }

    /// Checks that `frames` close the session of a client in `/` with this close code.
    pub(crate) async fn ends(&self, what: &str, frames: &[Vec<u8>], code: u16) {
        let mut client = self.client().await;
        client.write(frames.concat()).await;
        let (given, _) = client.ended().await;
        assert_eq!(given, code, "{what}");
        assert!(self.handled.is_silent(), "{what}");
    }

    /// Checks that `frames` violate the protocol.
    pub(crate) async fn refuses(&self, what: &str, frames: &[Vec<u8>]) {
        self.ends(what, frames, 1002).await;
    }

    /// Checks that `frames` have no effect: the next event is acknowledged as usual.
    pub(crate) async fn ignores(&self, what: &str, frames: &[Vec<u8>]) {
        let mut client = self.client().await;
        client.write(frames.concat()).await;
        assert_eq!(client.ask(r#"42999["mark"]"#).await, "43999[]", "{what}");
        assert!(self.handled.is_silent(), "{what}");
        client.close().await;
    }

    /// Sends bytes on a new connection and returns everything that is received until it is closed.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.host.connect().await;
        // The server may close before it has read everything.
        let _ = within(stream.write_all(bytes.as_ref())).await;
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Checks that the canary was served in time, that a new client is served, and that no session, socket or
    /// task is left.
    pub(crate) async fn goes_on(self) {
        let mut fresh = self.client().await;
        assert_eq!(fresh.ask(r#"421["mark"]"#).await, "431[]");
        fresh.close().await;
        let Self { host, stop, canary, tasks, .. } = self;
        eventually(|| host.io.session_count() == 1 && host.io.socket_count("/") == 0).await;
        eventually(|| Handle::current().metrics().num_alive_tasks() <= tasks).await;
        assert_eq!((host.io.socket_count("/canary"), host.io.socket_count("/refusing")), (1, 0));
        stop.send(()).unwrap();
        let slowest = canary.await.unwrap();
        assert!(slowest < BOUND, "the canary waited for {slowest:?}");
        eventually(|| host.io.session_count() == 0).await;
        assert!(!host.serving.is_finished());
    }
}

/// Sends events and awaits their acknowledgements until stopped, then once more. Returns the maximum latency.
async fn sing(mut client: Client, mut stopped: oneshot::Receiver<()>) -> Duration {
    let mut pace = interval(PACE);
    let mut slowest = Duration::ZERO;
    let (mut n, mut goes_on) = (0, true);
    while goes_on {
        goes_on = select! {
            _ = &mut stopped => false,
            _ = pace.tick() => true,
        };
        n += 1;
        let start = Instant::now();
        client.send(format!(r#"42/canary,{n}["chirp",{n}]"#)).await;
        loop {
            let packet = client.text().await;
            if packet == "2" {
                client.send("3").await;
                continue;
            }
            assert_eq!(packet, format!("43/canary,{n}[{n}]"));
            break;
        }
        slowest = slowest.max(start.elapsed());
    }
    client.close().await;
    slowest
}
