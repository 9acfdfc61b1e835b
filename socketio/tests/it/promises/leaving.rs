//! Tests that a disconnected socket leaves no state behind and cannot join rooms.

use futures::future::join_all;
use socketio::{EmitError, JoinError, Namespace, Server, ServerConfig, Socket};
use tokio::task::{JoinSet, yield_now};

use crate::support::{Client, Heard, Host, Polling, log, serve, serve_namespace, within};

async fn host() -> (Host, Heard<Socket>) {
    let (sockets, connected) = log();
    let namespace = Namespace::new("/").on_connect(async move |socket| sockets.note(socket));
    (serve_namespace(namespace).await, connected)
}

#[tokio::test]
async fn a_client_that_comes_back_is_in_no_room() {
    let (host, mut connected) = host().await;
    let mut client = Client::join(&host).await;
    for _ in 0..10 {
        let socket = connected.next().await;
        socket.join("room").unwrap();
        assert_eq!(host.io.socket_count("/"), 1);
        host.io.to("room").emit("before", &()).unwrap();
        assert_eq!(client.text().await, r#"42["before"]"#);

        client.send("41").await;
        let sid = client.enter("/").await;
        host.io.to("room").emit("after", &()).unwrap();
        host.io.to(socket.id()).emit("after", &()).unwrap();
        host.io.to(sid.as_str()).emit("end", &()).unwrap();
        assert_eq!(client.text().await, r#"42["end"]"#);
    }
    client.close().await;
    host.deserted("/").await;
}

#[tokio::test]
async fn a_socket_that_has_left_can_do_nothing_more() {
    let (host, mut connected) = host().await;
    let mut client = Client::join(&host).await;
    let socket = connected.next().await;
    socket.join("room").unwrap();
    assert!(socket.connected());
    socket.disconnect();
    assert!(!socket.connected());
    assert!(matches!(socket.emit("late", &()), Err(EmitError::Disconnected)));
    assert_eq!(socket.join("another"), Err(JoinError::Disconnected));
    socket.leave("room");
    socket.disconnect();
    assert_eq!(socket.rooms().iter().map(|room| &**room).collect::<Vec<_>>(), [socket.id(), "room"]);
    assert_eq!(host.io.socket_count("/"), 0);

    // A disconnected socket can still broadcast, for example to announce that it left.
    let mut other = Client::join(&host).await;
    socket.broadcast().emit("farewell", &()).unwrap();
    assert_eq!(other.text().await, r#"42["farewell"]"#);
    assert_eq!(client.text().await, "41");
    assert!(client.enter("/").await != socket.id(), "a new stay is a new socket");
}

#[tokio::test]
async fn the_limit_of_rooms_is_exact() {
    for (max, config) in [(65_536, ServerConfig::default()), (2, ServerConfig::default().max_rooms(2_usize))]
    {
        let (sockets, mut connected) = log();
        let namespace = Namespace::new("/").on_connect(async move |socket| sockets.note(socket));
        let host = serve(Server::with_config(config).namespace(namespace)).await;
        let mut client = Client::join(&host).await;
        let socket: Socket = connected.next().await;
        for n in 0..max {
            socket.join(format!("room {n}")).unwrap();
        }
        assert_eq!(socket.join("one too many"), Err(JoinError::TooManyRooms));
        // The limit does not apply to rooms that the socket is already in, nor to its own room.
        socket.join("room 0").unwrap();
        socket.leave(socket.id());
        socket.join(socket.id()).unwrap();
        assert_eq!(socket.rooms().len(), max + 1);
        host.io.to("one too many").emit("lost", &()).unwrap();

        socket.leave("room 0");
        socket.join("one too many").unwrap();
        host.io.to("one too many").emit("found", &()).unwrap();
        assert_eq!(client.text().await, r#"42["found"]"#);
    }
}

#[tokio::test]
async fn names_of_rooms_are_limited_exactly() {
    let (host, mut connected) = host().await;
    let _client = Client::join(&host).await;
    let socket = connected.next().await;
    socket.join("r".repeat(4096)).unwrap();
    socket.join("é".repeat(2048)).unwrap();
    socket.join("").unwrap();
    assert_eq!(socket.join("r".repeat(4097)), Err(JoinError::NameTooLong));
    assert_eq!(socket.rooms().len(), 4);
}

#[tokio::test]
async fn many_clients_that_come_and_go_leave_nothing() {
    let (host, mut connected) = host().await;
    for round in 0..5 {
        let mut clients = Vec::new();
        for n in 0..20 {
            clients.push(Client::join(&host).await);
            let socket = connected.next().await;
            for room in 0..20 {
                socket.join(format!("{}", (n + room) % 30)).unwrap();
            }
        }
        assert_eq!((host.io.session_count(), host.io.socket_count("/")), (20, 20));
        for (n, client) in clients.into_iter().enumerate() {
            if (n + round) % 2 == 0 {
                client.close().await;
            }
        }
        host.deserted("/").await;
    }
    let mut polling = Polling::join(&host).await;
    assert_eq!(host.io.socket_count("/"), 1);
    polling.send("1").await;
    host.deserted("/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sockets_leave_while_others_join_and_broadcast() {
    let (host, mut connected) = host().await;
    for _ in 0..10 {
        let mut clients = Vec::new();
        let mut tasks = JoinSet::new();
        for n in 0..16 {
            clients.push(Client::join(&host).await);
            let socket = connected.next().await;
            tasks.spawn(async move {
                while socket.connected() {
                    for room in 0..8 {
                        // Fails if the socket has disconnected since the check.
                        let _ = socket.join(format!("{}", (room + n) % 12));
                        socket.to("1").to("2").except("3").emit("x", &room).unwrap();
                        socket.leave(&room.to_string());
                        socket.namespace().to("4").volatile().emit("y", &room).unwrap();
                    }
                    yield_now().await;
                }
                assert_eq!(socket.join("late"), Err(JoinError::Disconnected));
            });
        }
        join_all(clients.into_iter().map(Client::close)).await;
        within(tasks.join_all()).await;
        host.deserted("/").await;
    }
    let mut client = Client::join(&host).await;
    for room in 0..12 {
        host.io.to(room.to_string()).emit("x", &()).unwrap();
    }
    host.io.to(connected.next().await.id()).emit("end", &()).unwrap();
    assert_eq!(client.text().await, r#"42["end"]"#);
}

#[test]
fn sockets_leave_when_their_runtime_ends() {
    let server = tokio::runtime::Runtime::new().unwrap();
    let clients = tokio::runtime::Runtime::new().unwrap();
    let (host, mut connected) = server.block_on(host());
    let _client = clients.block_on(Client::join(&host));
    let socket = clients.block_on(connected.next());
    drop(server);
    assert_eq!((host.io.session_count(), host.io.socket_count("/")), (0, 0));
    assert!(!socket.connected());
}
