//! Floods do not fill the log at the default level.

use std::{
    io,
    sync::{Arc, Mutex},
};

use socketio::{ConnectError, EngineConfig, EventError, Handshake, Namespace, Server, ServerConfig};
use tokio::time::{Duration, Instant, sleep};
use tracing::level_filters::LevelFilter;

use crate::support::{Client, Host, Http, LOG_RATE, Polling, frame, serve, text, within};

/// The captured log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

/// The number of repetitions in a flood, above the number of lines that a flood may cause.
const MANY: usize = 60;

async fn server() -> Host {
    let root = Namespace::new("/")
        .on("fails", async |_, ()| Err::<(), _>(EventError::internal(io::Error::other("the reason"))))
        .on("panics", async |_, n: Option<u8>| assert!(n.is_some(), "a handler"))
        .on("number", async |_, _: u64| ())
        .on_any(|_, name, _| assert_ne!(name, "seen", "a function"))
        .on("mark", async |_, ()| ());
    let hook = Namespace::new("/hook").on_connect(async |_| panic!("a hook"));
    let panics = Namespace::with_auth("/panics", async |_: Handshake| -> Result<(), ConnectError> {
        panic!("admission")
    });
    let refuses =
        Namespace::with_auth("/refuses", async |_: Handshake| Err::<(), _>(ConnectError::new("no")));
    let dynamic = Namespace::new("/{any}");
    let engine =
        EngineConfig::default().max_sessions(200).max_pending_sessions(50).max_http_buffer_size(10_000);
    let config = ServerConfig::default().engine(engine).serve_client("/no/such/folder");
    serve(
        Server::with_config(config)
            .namespace(root)
            .namespace(hook)
            .namespace(panics)
            .namespace(refuses)
            .dynamic_if(dynamic, async |_, _| panic!("a predicate")),
    )
    .await
}

/// Sends packets to `/` and waits until they have been processed or have closed the session.
async fn send(host: &Host, packets: &[u8]) {
    let mut client = Client::join(host).await;
    client.write([packets, &text(r#"42999["mark"]"#)].concat()).await;
    while client.next().await.is_ok_and(|message| message != "43999[]".into()) {}
    client.close().await;
}

/// Sends `MANY` requests, each on a new connection.
async fn request(host: &Host, target: &str, headers: &str) {
    for _ in 0..MANY {
        Http::connect(host).await.request("GET", target, headers, "").await;
    }
}

#[tokio::test]
async fn whatever_floods_there_are_a_few_lines_tell_of_them() {
    let _alone = LOG_RATE.write().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let host = server().await;
    let open = "/socket.io/?EIO=4&transport=polling";
    let (mut logged, mut begun) = (Vec::new(), Instant::now());
    let mut note =
        |what| logged.push((what, log.take(), std::mem::replace(&mut begun, Instant::now()).elapsed()));
    for packets in [
        r#"42["fails"]"#,
        r#"42["panics"]"#,
        r#"42["seen"]"#,
        r#"42["number","x"]"#,
        r#"42["unknown"]"#,
        "43999[1]",
        "40/hook,\n41/hook,",
        "42[",
    ] {
        let frames: Vec<_> = packets.lines().flat_map(text).collect();
        send(&host, &frames.repeat(MANY)).await;
        note(packets);
    }
    for path in ["/panics", "/refuses", "/any"] {
        for _ in 0..3 {
            send(&host, &text(format!("40{path},")).repeat(20)).await;
        }
        note(path);
    }
    for _ in 0..MANY {
        send(&host, b"").await;
    }
    note("connections that come and go");
    for garbage in [frame(0x83, "?"), frame(0x89, ""), text("x".repeat(10_001))] {
        for _ in 0..MANY {
            send(&host, &garbage.repeat(MANY)).await;
        }
        note("frames that end the session");
    }
    for (what, target, headers) in [
        ("origins", open, "Origin: http://evil.example\r\n"),
        ("handshakes", open, ""),
        ("bad handshakes", "/socket.io/?EIO=7&transport=polling", ""),
        ("unknown sessions", "/socket.io/?EIO=4&transport=polling&sid=abcdefghijklmnopqrst", ""),
        ("files", "/socket.io/socket.io.js", ""),
        ("paths", "/", ""),
    ] {
        request(&host, target, headers).await;
        note(what);
    }
    for _ in 0..MANY {
        let polling = Polling::open(&host).await;
        let mut probe = Client::connect(&host, &polling.upgrade_query()).await;
        probe.write(text("2probe").repeat(MANY)).await;
        while within(probe.next()).await.is_ok() {}
    }
    note("probes");
    assert!(logged[0].1.contains("event handler failed"), "{logged:?}");
    for (what, lines, elapsed) in logged {
        let (count, most) = (lines.lines().count(), 10 * (elapsed.as_secs() + 2));
        assert!(count as u64 <= most, "{what}: {count} lines, such as {lines}");
    }
    // Lets the rate limit of the log recover for the next test.
    sleep(Duration::from_secs(1)).await;
}
