//! Several servers.

use std::{future::pending, time::Duration};

use serde_json::{Value, json};
use socketio::{Ack, Args, EngineConfig, MemoryBus, Namespace, Server, ServerConfig, testing::TestServer};
use socketio_admin::Mode;

use crate::support::{admin, chat, log_in, until_stats, watch};

fn servers(mode: Mode) -> [TestServer; 2] {
    let bus = MemoryBus::default();
    ["one", "two"].map(|id| {
        let io = Server::with_cluster(ServerConfig::default(), bus.clone()).namespace(chat("/"));
        TestServer::new(admin().mode(mode).server_id(id).attach(io))
    })
}

#[tokio::test(start_paused = true)]
async fn the_numbers_of_all_servers_are_shown() {
    let [one, two] = servers(Mode::Production);
    let _client = two.connect("/").await;
    let mut administrator = log_in(&one).await;
    for id in ["one", "two", "one", "two"] {
        let stats = until_stats(&mut administrator, |stats| stats["serverId"] == id).await;
        assert_eq!(stats["namespaces"][0]["socketsCount"], u8::from(id == "two"));
    }
    // The other server counts too.
    let client = two.connect("/").await;
    client.emit("say", &()).await.unwrap();
    let has_packets = |stats: &Value| stats["serverId"] == "two" && stats.to_string().contains("packetsIn");
    until_stats(&mut administrator, has_packets).await;
}

#[tokio::test(start_paused = true)]
async fn sockets_of_all_servers_are_shown_and_can_be_disconnected() {
    let [one, two] = servers(Mode::Development);
    let (ann, mut bob) = (one.connect("/").await, two.connect("/").await);
    let (mut administrator, sockets) = watch(&one).await;
    let is_shown = |id: &str| sockets.iter().any(|socket| socket["id"] == id);
    assert!(is_shown(ann.id()) && is_shown(bob.id()));
    assert_eq!(sockets.len(), 3);
    administrator.emit("_disconnect", &("/", false, bob.id())).await.unwrap();
    bob.disconnected().await;
    let (_, id, reason): (String, String, String) = {
        let args: Args = administrator.wait_for("socket_disconnected").await;
        (args.get(0).unwrap(), args.get(1).unwrap(), args.get(2).unwrap())
    };
    assert_eq!((&*id, &*reason), (bob.id(), "server namespace disconnect"));
    let eve = two.connect("/").await;
    let args: Args = administrator.wait_for("socket_connected").await;
    assert_eq!(args.get::<Value>(0).unwrap()["id"], eve.id());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_starts_later_is_shown() {
    let bus = MemoryBus::default();
    let start = |id: &str| {
        let io = Server::with_cluster(ServerConfig::default(), bus.clone()).namespace(chat("/"));
        TestServer::new(admin().mode(Mode::Development).server_id(id).attach(io))
    };
    let one = start("one");
    let (mut administrator, _) = watch(&one).await;
    let two = start("two");
    let client = two.connect("/").await;
    let args: Args = administrator.wait_for("socket_connected").await;
    assert_eq!(args.get::<Value>(0).unwrap()["id"], client.id());
}

#[tokio::test(start_paused = true)]
async fn a_server_stops_when_the_other_has_no_administrator_any_more() {
    let [one, two] = servers(Mode::Production);
    let administrator = log_in(&one).await;
    let client = two.connect("/").await;
    let counts = async || {
        let before = two.server().traffic().messages_received;
        client.emit("say", &()).await.unwrap();
        two.server().traffic().messages_received > before
    };
    // Twice the time after which a server is forgotten.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(counts().await);
    administrator.disconnect().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(!counts().await);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_the_ui_does_not_matter() {
    let bus = MemoryBus::default();
    let start = || Server::with_cluster(ServerConfig::default(), bus.clone()).namespace(chat("/"));
    let one = TestServer::new(admin().mode(Mode::Development).attach(start()));
    let two = TestServer::new(start());
    let client = two.connect("/").await;
    let (administrator, sockets) = watch(&one).await;
    assert_eq!(sockets.len(), 1);
    administrator.emit("join", &("/", "lobby", client.id())).await.unwrap();
    let joined: Value = json!(two.server().to("lobby").fetch_sockets().await.unwrap().len());
    assert_eq!(joined, 1);
}

/// Returns a server that shares the data of its sockets as `instrument` in Node.js does, and does not respond to
/// other events of the Admin UI.
fn node(bus: &MemoryBus) -> TestServer {
    let admin = Namespace::new("/admin").on_server("admin:sockets", async |_, ()| pending::<Ack<()>>().await);
    let io = Server::with_cluster(ServerConfig::default(), bus.clone()).namespace(chat("/")).namespace(admin);
    io.share_admin_data(|_| json!({ "clientId": "0123456789ab", "transport": "websocket" }));
    TestServer::new(io)
}

#[tokio::test(start_paused = true)]
async fn a_limited_number_of_sockets_of_servers_of_node_is_shown() {
    let bus = MemoryBus::default();
    let (peer, io) = (node(&bus), Server::with_cluster(ServerConfig::default(), bus).namespace(chat("/")));
    let server = TestServer::new(admin().mode(Mode::Development).max_sockets(2).attach(io));
    let first = [peer.connect("/").await, peer.connect("/").await];
    let (_administrator, sockets) = watch(&server).await;
    for client in &first {
        let shown = sockets.iter().find(|socket| socket["id"] == client.id()).unwrap();
        assert_eq!((&shown["clientId"], &shown["transport"]), (&json!("0123456789ab"), &json!("websocket")));
        assert_eq!((&shown["nsp"], &shown["rooms"]), (&json!("/"), &json!([client.id()])));
    }
    // With the administrator.
    assert_eq!(sockets.len(), 3);
    let _third = peer.connect("/").await;
    let (_administrator, sockets) = watch(&server).await;
    assert_eq!(sockets.iter().filter(|socket| socket["nsp"] == "/").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_limited_number_of_sockets_is_taken_from_another_server() {
    let record = json!({
        "id": "", "clientId": "", "transport": "", "nsp": "/", "data": {}, "rooms": [],
        "handshake": {
            "address": "", "headers": {}, "query": {}, "issued": 0, "secure": false, "time": "", "url": "", "xdomain": false,
        },
    });
    for (sent, shown) in [(10_000, 10_000), (10_001, 10_000)] {
        let bus = MemoryBus::default();
        let engine = EngineConfig::default().max_buffered_hard(64_000_000_usize);
        let start = || Server::with_cluster(ServerConfig::default().engine(engine.clone()), bus.clone());
        let records = vec![record.clone(); sent];
        let peer =
            Namespace::new("/admin").on_server("admin:sockets", async move |_, ()| Ack((records.clone(),)));
        let _peer = TestServer::new(start().namespace(peer));
        let server = TestServer::new(admin().mode(Mode::Development).attach(start()));
        let (_administrator, sockets) = watch(&server).await;
        // With the administrator.
        assert_eq!(sockets.len(), shown + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_administrator_at_a_server_of_node_gets_changes() {
    let bus = MemoryBus::default();
    let (peer, io) = (node(&bus), Server::with_cluster(ServerConfig::default(), bus).namespace(chat("/")));
    let server = TestServer::new(admin().mode(Mode::Development).attach(io));
    let mut administrator = peer.connect("/admin").await;
    // The interval in which such administrators are looked for.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let client = server.connect("/").await;
    let args: Args = administrator.wait_for("socket_connected").await;
    assert_eq!(args.get::<Value>(0).unwrap()["id"], client.id());
    // Longer than an administrator is expected for.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let () = client.emit_with_ack("join", "lobby").await.unwrap();
    let args: Args = administrator.wait_for("room_joined").await;
    assert_eq!(args.get::<String>(1).unwrap(), "lobby");
}
