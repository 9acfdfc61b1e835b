//! Sockets, rooms and events.

use std::{sync::Mutex, time::Duration};

use serde_json::{Value, json};
use socketio::{
    Ack, Args, Namespace, Server,
    testing::{TestClient, TestServer},
};
use socketio_admin::Mode;
use tokio::time::Instant;

use crate::support::{admin, chat, development, log_in, server, until_stats, watch};

/// Returns the next event that is not a report.
async fn next(administrator: &mut TestClient) -> (String, Value) {
    loop {
        let event = administrator.event().await;
        if event.name != "server_stats" {
            let mut args: Vec<Value> = event.args.values().unwrap();
            // The time, which differs.
            args.pop_if(|last| last.as_str().is_some_and(|text| text.ends_with('Z') && text.len() == 24));
            return (event.name, args.into());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_sockets_are_sent_without_secrets() {
    let server = development();
    let client = server.client("/").header("cookie", "session=1").header("authorization", "Bearer 2");
    let client = client
        .header("origin", "http://localhost")
        .header("host", "localhost")
        .query("token", "3")
        .query("room", "lobby");
    let client = client.connect().await.unwrap();
    let () = client.emit_with_ack("join", "lobby").await.unwrap();
    let (_administrator, sockets) = watch(&server).await;
    assert_eq!(sockets.len(), 2);
    let shown = sockets.iter().find(|socket| socket["nsp"] == "/").unwrap();
    assert_eq!(shown["id"], client.id());
    assert_eq!(shown["clientId"].as_str().unwrap().len(), 8);
    assert_eq!((&shown["transport"], &shown["data"]), (&json!("polling"), &json!({})));
    let mut rooms = [client.id(), "lobby"];
    rooms.sort_unstable();
    assert_eq!(shown["rooms"], json!(rooms));
    let handshake = &shown["handshake"];
    assert_eq!(handshake["headers"]["cookie"], "[redacted]");
    assert_eq!(handshake["headers"]["authorization"], "[redacted]");
    assert_eq!(handshake["headers"]["origin"], "http://localhost");
    assert_eq!(
        (&handshake["query"]["token"], &handshake["query"]["room"]),
        (&json!("[redacted]"), &json!("lobby"))
    );
    let url = handshake["url"].as_str().unwrap();
    assert!(url.contains("room=lobby") && !url.contains("token=3"), "{url}");
    assert_eq!((&handshake["xdomain"], &handshake["secure"]), (&json!(true), &json!(false)));
    let text = shown.to_string();
    let session = server.server().local_sockets("/", 1)[0].session().id().as_str().to_owned();
    assert!(!text.contains(&session) && !text.contains("session=1") && !text.contains("Bearer"));
}

#[tokio::test(start_paused = true)]
async fn shown_data_and_headers_are_options() {
    #[derive(serde::Serialize)]
    struct User {
        name: &'static str,
    }
    let users =
        Namespace::with_auth("/users", async |_| Ok::<_, socketio::ConnectError>(User { name: "Ann" }));
    let admin = admin().mode(Mode::Development).show("Cookie").redact("X-Plan").address_header("x-real-ip");
    let server = TestServer::new(admin.attach(Server::new().namespace(users.share_data())));
    let client = server.client("/users").header("cookie", "theme=dark").header("x-plan", "gold");
    let _client = client.header("x-real-ip", "192.0.2.7").connect().await.unwrap();
    let (_administrator, sockets) = watch(&server).await;
    let shown = sockets.iter().find(|socket| socket["nsp"] == "/users").unwrap();
    assert_eq!(shown["data"], json!({ "name": "Ann" }));
    let handshake = &shown["handshake"];
    assert_eq!(handshake["headers"]["cookie"], "theme=dark");
    assert_eq!(
        (&handshake["headers"]["x-plan"], &handshake["address"]),
        (&json!("[redacted]"), &json!("192.0.2.7"))
    );
}

#[tokio::test(start_paused = true)]
async fn changes_are_sent() {
    let server = development();
    let (mut administrator, _) = watch(&server).await;
    let client = server.connect("/").await;
    let id = client.id().to_owned();
    let (name, args) = next(&mut administrator).await;
    assert_eq!((&*name, &args[0]["id"], &args[0]["rooms"]), ("socket_connected", &json!(id), &json!([id])));
    let () = client.emit_with_ack("join", "lobby").await.unwrap();
    assert_eq!(next(&mut administrator).await, ("room_joined".into(), json!(["/", "lobby", id])));
    let event = json!(["/", id, ["join", "lobby"]]);
    assert_eq!(next(&mut administrator).await, ("event_received".into(), event));
    let () = client.emit_with_ack("leave", "lobby").await.unwrap();
    assert_eq!(next(&mut administrator).await, ("room_left".into(), json!(["/", "lobby", id])));
    assert_eq!(next(&mut administrator).await.0, "event_received");
    client.disconnect().await;
    let reason = json!(["/", id, "client namespace disconnect"]);
    assert_eq!(next(&mut administrator).await, ("socket_disconnected".into(), reason));
    assert_eq!(next(&mut administrator).await, ("room_left".into(), json!(["/", id, id])));
}

#[tokio::test(start_paused = true)]
async fn what_is_undone_at_once_is_not_sent() {
    let server = development();
    let client = server.connect("/").await;
    let (mut administrator, _) = watch(&server).await;
    let () = client.emit_with_ack("join", "lobby").await.unwrap();
    let () = client.emit_with_ack("leave", "lobby").await.unwrap();
    server.connect("/").await.disconnect().await;
    let () = client.emit_with_ack("join", "garden").await.unwrap();
    assert_eq!(next(&mut administrator).await.1[1], "garden");
}

#[tokio::test(start_paused = true)]
async fn events_to_clients_are_sent_with_some_of_their_recipients() {
    let server = development();
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(server.connect("/").await);
    }
    let (mut administrator, _) = watch(&server).await;
    let file = bytes::Bytes::from_static(b"12345");
    server.server().emit("news", &("tea", &file)).unwrap();
    for _ in 0..4 {
        let (name, args) = next(&mut administrator).await;
        assert_eq!((&*name, &args[2]), ("event_sent", &json!(["news", "tea", "[binary, 5 bytes]"])));
        assert!(clients.iter().any(|client| args[1] == client.id()));
    }
    let stats = until_stats(&mut administrator, |stats| stats["notShown"]["events"] != 0).await;
    assert_eq!(stats["notShown"], json!({ "sockets": 0, "events": 2, "namespaces": 0 }));
}

#[tokio::test(start_paused = true)]
async fn a_limited_number_of_events_is_sent() {
    // Two in each half of a second.
    let server = server(admin().mode(Mode::Development).max_events_per_second(4));
    let client = server.connect("/").await;
    let (mut administrator, _) = watch(&server).await;
    for (sent, hidden) in [(2, 0), (3, 1)] {
        for at in 0..sent {
            client.emit("say", &at).await.unwrap();
        }
        for at in 0..2 {
            assert_eq!(next(&mut administrator).await.1[2], json!(["say", at]));
        }
        let stats: Value = administrator.wait_for("server_stats").await;
        assert_eq!(stats["notShown"]["events"], hidden);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_number_of_sockets_is_shown() {
    // The administrator is a socket too.
    let server = server(admin().mode(Mode::Development).max_sockets(3));
    let mut clients = vec![server.connect("/").await, server.connect("/").await];
    let (mut administrator, sockets) = watch(&server).await;
    assert_eq!(sockets.len(), 3);
    let stats: Value = administrator.wait_for("server_stats").await;
    assert_eq!(stats["notShown"]["sockets"], 0);
    clients.push(server.connect("/").await);
    let stats = until_stats(&mut administrator, |stats| stats["notShown"]["sockets"] == 1).await;
    assert_eq!(stats["namespaces"][0]["socketsCount"], 3);
    // Another takes the place of one that disconnects.
    let gone = clients.remove(0);
    let id = gone.id().to_owned();
    gone.disconnect().await;
    let (name, args) = next(&mut administrator).await;
    assert_eq!((&*name, &args[1]), ("socket_disconnected", &json!(id)));
    assert_eq!(next(&mut administrator).await.0, "room_left");
    let (name, args) = next(&mut administrator).await;
    assert_eq!((&*name, &args[0]["id"]), ("socket_connected", &json!(clients[1].id())));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_observed_while_nobody_watches() {
    let server = development();
    let client = server.connect("/").await;
    let administrator = log_in(&server).await;
    administrator.disconnect().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    client.emit("say", "unseen").await.unwrap();
    let (mut administrator, _) = watch(&server).await;
    client.emit("say", "seen").await.unwrap();
    assert_eq!(next(&mut administrator).await.1[2], json!(["say", "seen"]));
}

#[tokio::test(start_paused = true)]
async fn a_second_administrator_gets_the_same_sockets() {
    let server = development();
    let (mut first, _) = watch(&server).await;
    let client = server.connect("/").await;
    let (_second, sockets) = watch(&server).await;
    assert_eq!(sockets.len(), 3);
    assert!(sockets.iter().any(|socket| socket["id"] == client.id()));
    let connected = [next(&mut first).await, next(&mut first).await];
    assert!(connected.iter().all(|(name, _)| name == "socket_connected"), "{connected:?}");
}

#[tokio::test(start_paused = true)]
async fn dynamic_namespaces_are_shown() {
    let io = Server::new().namespace(chat("/")).dynamic(chat("/game-{id}"));
    let server = TestServer::new(admin().mode(Mode::Development).attach(io));
    let (mut administrator, _) = watch(&server).await;
    let _player = server.connect("/game-7").await;
    let (_, args) = next(&mut administrator).await;
    assert_eq!(args[0]["nsp"], "/game-7");
    let has_game = |stats: &Value| stats["namespaces"].to_string().contains("/game-7");
    until_stats(&mut administrator, has_game).await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_shown_up_to_limits() {
    #[derive(serde::Serialize)]
    struct User {
        name: String,
    }
    let user = async |handshake: socketio::Handshake| {
        let len = handshake.query("len").and_then(|len| len.parse().ok()).unwrap_or(0);
        Ok::<_, socketio::ConnectError>(User { name: "x".repeat(len) })
    };
    let users = Namespace::with_auth("/", user)
        .share_data()
        .on("join", async |socket, rooms: Vec<String>| socket.join_rooms(rooms));
    let server = TestServer::new(admin().mode(Mode::Development).attach(Server::new().namespace(users)));
    // With the braces, the name and the quotes, 4,096 bytes of data, and one more.
    for (len, rooms) in [("4085", 31), ("4086", 32)] {
        let client = server.client("/").query("len", len).connect().await.unwrap();
        let rooms: Vec<String> = (0..rooms).map(|at| at.to_string()).collect();
        let () = client.emit_with_ack("join", &(&rooms,)).await.unwrap();
        let (_administrator, sockets) = watch(&server).await;
        let shown = sockets.iter().find(|socket| socket["id"] == client.id()).unwrap();
        // The room of its own id is one of them.
        assert_eq!(shown["rooms"].as_array().unwrap().len(), 32);
        assert_eq!(shown["data"].as_object().unwrap().contains_key("name"), len == "4085");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_data_are_sent() {
    #[derive(Default, serde::Serialize)]
    struct User {
        name: Mutex<String>,
    }
    let user = async |_| Ok::<_, socketio::ConnectError>(User::default());
    let users = Namespace::with_auth("/", user).share_data().on("rename", async |socket, len: usize| {
        *socket.data().name.lock().unwrap() = "x".repeat(len);
        Ack(())
    });
    let server = TestServer::new(admin().mode(Mode::Development).attach(Server::new().namespace(users)));
    let client = server.connect("/").await;
    let (mut administrator, _) = watch(&server).await;
    // With the braces, the name and the quotes, 4,096 bytes of data, and one more.
    for (len, data) in
        [(2, json!({ "name": "xx" })), (4085, json!({ "name": "x".repeat(4085) })), (4086, json!({}))]
    {
        let () = client.emit_with_ack("rename", &len).await.unwrap();
        let update: Value = administrator.wait_for("socket_updated").await;
        assert_eq!(update, json!({ "id": client.id(), "nsp": "/", "data": data }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_number_of_changes_is_sent_at_a_time() {
    let server = server(admin().mode(Mode::Development).max_sockets(600));
    for (connected, later) in [(500, 0), (501, 1)] {
        let (mut administrator, _) = watch(&server).await;
        let mut clients = Vec::new();
        for _ in 0..connected {
            clients.push(server.connect("/").await);
        }
        let mut sent = Vec::new();
        for _ in 0..connected {
            let args: Args = administrator.wait_for("socket_connected").await;
            sent.push((args.get::<String>(1).unwrap(), Instant::now()));
        }
        let first = sent[0].1;
        assert_eq!(sent.iter().filter(|(_, time)| *time > first).count(), later);
        administrator.disconnect().await;
        for client in clients {
            client.disconnect().await;
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
}
