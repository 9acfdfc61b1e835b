//! Rooms of a socket, and broadcasts from the server itself.

use socketio::{
    Ack, ConnectError, Handshake, JoinError, Namespace, RoomEvent, Server, ServerConfig, Socket,
    testing::TestServer,
};
use tokio::sync::mpsc;

fn sockets(config: ServerConfig) -> (TestServer, mpsc::Receiver<Socket>) {
    let (sender, receiver) = mpsc::channel(100);
    let namespace = Namespace::new("/").on_connect(async move |socket| {
        sender.try_send(socket).unwrap();
    });
    (TestServer::new(Server::with_config(config).namespace(namespace)), receiver)
}

fn names(socket: &Socket) -> Vec<String> {
    let mut names: Vec<_> = socket.rooms().iter().skip(1).map(ToString::to_string).collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn several_rooms_are_joined_and_left_at_once() {
    let (server, mut connected) = sockets(ServerConfig::default().max_rooms(3_usize));
    let _client = server.connect("/").await;
    let socket = connected.recv().await.unwrap();
    socket.join_rooms(["a", "b", "a"]).unwrap();
    assert_eq!(names(&socket), ["a", "b"]);
    // If a name is too long, no room is joined. If there are too many rooms, the first ones are joined.
    assert_eq!(socket.join_rooms(["c".to_owned(), "x".repeat(5000)]), Err(JoinError::NameTooLong));
    assert_eq!(names(&socket), ["a", "b"]);
    assert_eq!(socket.join_rooms(["b", "c", "d"]), Err(JoinError::TooManyRooms));
    assert_eq!(names(&socket), ["a", "b", "c"]);
    socket.leave_rooms(["a", "unknown"]);
    assert_eq!(names(&socket), ["b", "c"]);
    socket.leave_rooms(socket.rooms().into_iter().skip(1));
    assert_eq!(names(&socket), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn all_rooms_but_its_own_are_left_at_once() {
    let (events, mut heard) = mpsc::channel(100);
    let namespace = Namespace::new("/")
        .on_connect(async |socket| socket.join_rooms(["a", "b"]))
        .on_unit("leave", async |socket| socket.leave_all())
        .on_room(move |event| events.try_send(event).unwrap());
    let server = TestServer::new(Server::new().namespace(namespace));
    let mut client = server.connect("/").await;
    let () = client.emit_with_ack("leave", &()).await.unwrap();
    let io = server.server();
    io.to("a").to("b").emit("lost", &()).unwrap();
    io.to(client.id()).emit("direct", &()).unwrap();
    let () = client.expect("direct").await;
    let mut left = Vec::new();
    while let Ok(event) = heard.try_recv() {
        if let RoomEvent::Deleted { room, .. } = event {
            left.push(room.to_string());
        }
    }
    left.sort();
    assert_eq!(left, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_server_itself_chooses_whom_a_broadcast_is_for() {
    let namespace = Namespace::new("/").on("join", async |socket, room: String| socket.join(room));
    let server = TestServer::new(Server::new().namespace(namespace));
    let (mut ann, mut bob) = (server.connect("/").await, server.connect("/").await);
    let () = ann.emit_with_ack("join", "quiet").await.unwrap();
    let io = server.server();
    io.except("quiet").emit("loud", &1).unwrap();
    io.local().emit("near", &2).unwrap();
    assert_eq!(ann.expect::<u8>("near").await, 2);
    assert_eq!(bob.expect::<u8>("loud").await, 1);
    assert_eq!(bob.expect::<u8>("near").await, 2);
    let _ = io.volatile().emit("perhaps", &3);
}

#[tokio::test(start_paused = true)]
async fn sockets_are_found_with_their_data() {
    async fn admit(handshake: Handshake) -> Result<String, ConnectError> {
        handshake.query("name").map(Into::into).ok_or_else(|| "no name".into())
    }
    async fn present(socket: Socket<String>, room: String) -> Ack<Vec<String>> {
        let sockets = socket.sockets().in_room(room);
        let mut names: Vec<_> = sockets.iter().map(|socket| socket.data().clone()).collect();
        names.sort();
        Ack(names)
    }
    let chat = Namespace::with_auth("/{chat}", admit)
        .on("join", async |socket, room: String| socket.join(room))
        .on("present", present);
    let server = TestServer::new(Server::new().dynamic(chat).namespace(Namespace::new("/")));
    let (ann, bob) =
        (server.client("/chat").query("name", "Ann"), server.client("/chat").query("name", "Bob"));
    let (ann, bob) = (ann.connect().await.unwrap(), bob.connect().await.unwrap());
    let _other = server.client("/other").query("name", "Cid").connect().await.unwrap();
    for client in [&ann, &bob] {
        let () = client.emit_with_ack("join", "lobby").await.unwrap();
    }
    let () = ann.emit_with_ack("join", "garden").await.unwrap();
    let names: Vec<String> = bob.emit_with_ack("present", "lobby").await.unwrap();
    assert_eq!(names, ["Ann", "Bob"]);
    let names: Vec<String> = bob.emit_with_ack("present", "garden").await.unwrap();
    assert_eq!(names, ["Ann"]);

    let io = server.server();
    assert!(io.sockets::<String>("/nowhere").is_none());
    assert!(io.sockets::<u32>("/chat").is_none());
    assert!(io.sockets::<()>("/").unwrap().is_empty());
    let sockets = io.sockets::<String>("/chat").unwrap();
    assert_eq!((sockets.len(), sockets.all().len()), (2, 2));
    assert_eq!(sockets.get(ann.id()).unwrap().data(), "Ann");
    assert!(sockets.get("nobody").is_none());
    let counts = |room: &str| (sockets.count_in(room), io.of("/chat").to(room).socket_count());
    assert_eq!((counts("lobby"), counts("garden"), counts("empty")), ((2, 2), (1, 1), (0, 0)));
    assert_eq!(counts(ann.id()), (1, 1));
    let here = sockets.get(ann.id()).unwrap();
    assert_eq!((here.to("lobby").socket_count(), here.namespace().socket_count()), (1, 2));
    assert_eq!(io.of("/chat").to("lobby").to("garden").except("garden").socket_count(), 1);
    assert_eq!(io.of("/nowhere").socket_count(), 0);

    here.disconnect();
    assert!(sockets.get(ann.id()).is_none());
    assert_eq!((sockets.len(), counts("lobby"), counts("garden")), (1, (1, 1), (0, 0)));
}
