//! Starts the servers under test, and connects their clients.

use std::{fmt::Display, future::pending, time::Duration};

use engineio::EngineConfig;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    config::ServerConfig,
    event::{Ack, handshake::Handshake},
    handles::{broadcast::BroadcastOperator, socket::Socket},
    hub::cluster::Broker,
    namespace::Namespace,
    server::Server,
    testing::{TestClient, TestEvent, TestServer},
};

pub(super) type Check<'a> = LocalBoxFuture<'a, ()>;

/// The time within which a server must be connected and known to the others.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two questions for a state that no event announces.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// A namespace whose name has characters with a meaning in patterns, subjects, channels and SQL.
pub(super) const STRANGE: &str = "/ä b#1[*]?.>'%$";

/// Starts clusters.
pub(super) struct Fleets<'a> {
    pub(super) start: &'a dyn Fn(ServerConfig, Option<&'static str>) -> LocalBoxFuture<'a, TestServer>,
}

/// The servers of a cluster.
pub(super) struct Fleet {
    pub(super) servers: Vec<TestServer>,
}

/// Starts a server with the application that all checks use, and with one more namespace.
pub(super) async fn start<B: Broker>(
    new_broker: &impl AsyncFn() -> B,
    config: ServerConfig,
    extra: Option<&'static str>,
) -> TestServer {
    let mut server = Server::with_cluster(config, new_broker().await)
        .namespace(application("/"))
        .namespace(application(STRANGE))
        .dynamic(Namespace::new("/child-{name}"));
    if let Some(path) = extra {
        server = server.namespace(application(path));
    }
    TestServer::new(server)
}

/// Clients choose their data.
fn application(path: &str) -> Namespace<Value> {
    Namespace::with_auth(path, async |handshake: Handshake| handshake.auth::<Value>())
        .share_data()
        .restore_data(|data: Value| data)
        .on("join", async |socket: Socket<Value>, room: String| socket.join(room))
        .on("leave", async |socket: Socket<Value>, room: String| socket.leave(&room))
        .on("others", async |socket: Socket<Value>, name: String| socket.broadcast().emit(name.as_str(), &()))
        .on_server("say", async |sockets: BroadcastOperator, number: u32| {
            sockets.local().emit("said", &number)
        })
        .on_server("sum", async |_, (one, other): (u32, u32)| Ack(one + other))
        .on_server("hang", async |_, ()| pending::<()>().await)
}

/// The default options. A request that waits for its timeout fails the check.
pub(super) fn config() -> ServerConfig {
    let engine =
        EngineConfig::default().ping_interval(Duration::from_hours(1)).ping_timeout(Duration::from_hours(1));
    let long = Duration::from_secs(40);
    ServerConfig::default().engine(engine).requests_timeout(long).ack_timeout(long)
}

impl Fleets<'_> {
    /// Starts servers, and waits until they know each other.
    pub(super) async fn start(&self, count: usize) -> Fleet {
        self.start_with(count, &config()).await
    }

    pub(super) async fn start_with(&self, count: usize, config: &ServerConfig) -> Fleet {
        let mut fleet = Fleet { servers: Vec::new() };
        for _ in 0..count {
            fleet.servers.push((self.start)(config.clone(), None).await);
        }
        fleet.connected().await;
        fleet
    }

    /// Starts servers with a client each. Each client is in the room of the number of its server and in the room
    /// `all`.
    pub(super) async fn start_with_clients(&self, count: usize) -> (Fleet, Vec<TestClient>) {
        let fleet = self.start(count).await;
        let mut clients = Vec::new();
        for number in 0..count {
            clients.push(fleet.client(number).await);
        }
        (fleet, clients)
    }
}

impl Fleet {
    /// Waits until each server is connected, and counts all others.
    pub(super) async fn connected(&self) {
        for server in &self.servers {
            let connected = server.server().cluster_connected();
            let is_connected = tokio::time::timeout(CONNECT_TIMEOUT, connected).await.is_ok();
            let status = server.server().cluster_status();
            assert!(is_connected, "a server is not connected after {CONNECT_TIMEOUT:?}: {status:?}");
        }
        for path in ["/", STRANGE] {
            for server in &self.servers {
                counts(server, path, self.servers.len()).await;
            }
        }
    }

    pub(super) fn server(&self, number: usize) -> &Server {
        self.servers[number].server()
    }

    /// Connects a client to a server, and has it join its rooms.
    pub(super) async fn client(&self, number: usize) -> TestClient {
        let client = self.servers[number].client("/").auth(&json!({ "name": number }));
        let client = done(client.connect().await, "a client connects");
        let room = number.to_string();
        join(&client, &room).await;
        join(&client, "all").await;
        // The channels of the rooms are subscribed.
        self.server(number).cluster_connected().await;
        client
    }

    /// Emits the event `end` to all sockets, as the last event of the server that is of interest.
    pub(super) fn end(&self, number: usize) {
        done(self.server(number).emit("end", &()), "an event is emitted");
    }

    /// Closes all servers, and waits until they have left.
    pub(super) async fn close(self) {
        for server in &self.servers {
            server.server().close().await;
        }
    }
}

/// Has the socket of a client join a room.
pub(super) async fn join(client: &TestClient, room: &str) {
    let () = done(client.emit_with_ack("join", room).await, "a client joins a room");
}

/// Waits until a server counts the given number of servers.
pub(super) async fn counts(server: &TestServer, path: &str, expected: usize) {
    let start = Instant::now();
    loop {
        let count = server.server().of(path).server_count().await;
        if count == Ok(expected) {
            return;
        }
        assert!(
            start.elapsed() < CONNECT_TIMEOUT,
            "a server counts {count:?} servers in `{path}` after {CONNECT_TIMEOUT:?}, instead of {expected}"
        );
        sleep(POLL_INTERVAL).await;
    }
}

/// Waits until a condition holds, for as long as a server may take to be connected.
pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < CONNECT_TIMEOUT, "{what}: not within {CONNECT_TIMEOUT:?}");
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns the events up to `end`.
pub(super) async fn until_end(client: &mut TestClient) -> Vec<TestEvent> {
    let mut events = Vec::new();
    loop {
        let event = client.event().await;
        if event.name == "end" {
            return events;
        }
        events.push(event);
    }
}

/// Checks the names of the events up to `end`, for each client.
pub(super) async fn expect(clients: &mut [TestClient], expected: &[&[&str]]) {
    for (number, (client, expected)) in clients.iter_mut().zip(expected).enumerate() {
        let events = until_end(client).await;
        let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
        assert!(
            names == *expected,
            "the client of server {number} receives {names:?} instead of {expected:?}"
        );
    }
}

/// Returns the result of an operation that must succeed.
#[track_caller]
pub(super) fn done<T, E: Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("not so: {what}: {error}"),
    }
}

/// Awaits a request that must not wait for its timeout.
pub(super) async fn prompt<T>(what: &str, request: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(5);
    match tokio::time::timeout(limit, request).await {
        Ok(value) => value,
        Err(elapsed) => panic!("{what} waits for more than {limit:?}: {elapsed}"),
    }
}
