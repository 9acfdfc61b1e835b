//! Tests the operations on many sockets at once.

use serde::Serialize;
use socketio::{EmitError, JoinError, Namespace, RemoteSocket, Server, ServerConfig, Socket};

use crate::support::{Client, Host, serve, within};

#[derive(Serialize)]
struct User {
    name: &'static str,
}

fn namespace() -> Namespace<User> {
    Namespace::with_auth("/", async |handshake| {
        let name = if handshake.query("name").as_deref() == Some("ann") { "Ann" } else { "Bob" };
        Ok::<_, socketio::ConnectError>(User { name })
    })
    .on("join", async |socket: Socket<User>, room: String| socket.join(room))
    .on("rooms", async |socket: Socket<User>, ()| socketio::Ack(socket.rooms().len()))
}

/// Connects a client and returns it with its socket id.
async fn client(host: &Host, name: &str) -> (Client, String) {
    let mut client = Client::open_with(host, &format!("EIO=4&transport=websocket&name={name}")).await;
    let id = client.enter("/").await;
    (client, id)
}

async fn fetched(host: &Host, room: &str) -> Vec<RemoteSocket> {
    within(host.io.to(room).fetch_sockets()).await.unwrap()
}

fn rooms(socket: &RemoteSocket) -> Vec<&str> {
    socket.rooms().iter().map(|room| &**room).collect()
}

#[tokio::test]
async fn fetched_sockets_tell_who_they_are() {
    let host = serve(Server::new().namespace(namespace().share_data())).await;
    let (mut ann, ann_id) = client(&host, "ann").await;
    let (_bob, bob_id) = client(&host, "bob").await;
    assert_eq!(ann.ask(r#"421["join","garden"]"#).await, "431[]");

    let garden = fetched(&host, "garden").await;
    let [socket] = &garden[..] else { panic!("{garden:?}") };
    assert_eq!((socket.id(), rooms(socket)), (&*ann_id, vec![&*ann_id, "garden"]));
    assert_eq!(socket.handshake().query("name").as_deref(), Some("ann"));
    assert_eq!(socket.data::<serde_json::Value>().unwrap()["name"], "Ann");

    let others = within(host.io.of("/").except("garden").fetch_sockets()).await.unwrap();
    assert!(others.iter().map(RemoteSocket::id).eq([&*bob_id]));
    assert!(within(host.io.of("/nowhere").fetch_sockets()).await.unwrap().is_empty());
}

#[tokio::test]
async fn data_is_shared_only_if_the_namespace_says_so() {
    let host = serve(Server::new().namespace(namespace())).await;
    let (_ann, id) = client(&host, "ann").await;
    let socket = fetched(&host, &id).await.remove(0);
    assert_eq!(socket.data::<Option<serde_json::Value>>().unwrap(), None);
}

#[tokio::test]
async fn data_that_cannot_be_written_is_left_out() {
    struct Odd;
    impl Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("no way to write this")
        }
    }
    let odd = Namespace::with_auth("/", async |_| Ok::<_, socketio::ConnectError>(Odd)).share_data();
    let host = serve(Server::new().namespace(odd)).await;
    let (_ann, id) = client(&host, "ann").await;
    let socket = fetched(&host, &id).await.remove(0);
    assert_eq!(socket.data::<Option<u8>>().unwrap(), None);
}

#[tokio::test]
async fn a_fetched_socket_can_be_reached() {
    let host = serve(Server::new().namespace(namespace())).await;
    let (mut ann, id) = client(&host, "ann").await;
    let (mut bob, _) = client(&host, "bob").await;
    let socket = fetched(&host, &id).await.remove(0);

    socket.emit("hello", "Ann").unwrap();
    assert_eq!(ann.text().await, r#"42["hello","Ann"]"#);
    let request = socket.emit_with_ack::<u8, _>("question", &()).unwrap();
    assert_eq!(ann.text().await, r#"420["question"]"#);
    ann.send("430[7]").await;
    assert_eq!(within(request).await.answers, [(id.clone(), 7)]);

    socket.join(["a", "b"]).unwrap();
    assert_eq!(ann.ask(r#"421["rooms"]"#).await, "431[3]");
    socket.leave(["a"]).unwrap();
    assert_eq!(rooms(&fetched(&host, "b").await[0]), [&*id, "b"]);
    socket.disconnect().unwrap();
    assert_eq!(ann.text().await, "41");
    // The socket is disconnected. Operations on it do nothing and return no error.
    socket.emit("hello", "Ann").unwrap();
    socket.join(["c"]).unwrap();
    assert!(fetched(&host, "c").await.is_empty());
    assert_eq!(bob.ask(r#"421["rooms"]"#).await, "431[1]");
}

#[tokio::test]
async fn many_sockets_join_and_leave_at_once() {
    let host = serve(Server::new().namespace(namespace())).await;
    let (mut ann, ann_id) = client(&host, "ann").await;
    let (mut bob, bob_id) = client(&host, "bob").await;
    assert_eq!(ann.ask(r#"421["join","garden"]"#).await, "431[]");

    host.io.of("/").sockets_join(["house", "street"]).unwrap();
    assert_eq!(ann.ask(r#"421["rooms"]"#).await, "431[4]");
    assert_eq!(bob.ask(r#"421["rooms"]"#).await, "431[3]");
    host.io.to("garden").sockets_leave(["house", "nowhere"]).unwrap();
    assert!(fetched(&host, "house").await.iter().map(RemoteSocket::id).eq([&*bob_id]));
    host.io.to("house").sockets_leave([bob_id.as_str()]).unwrap();
    assert!(fetched(&host, &bob_id).await.is_empty(), "the room of its own id is a room too");
    assert_eq!(fetched(&host, &ann_id).await.len(), 1);
}

#[tokio::test]
async fn limits_of_rooms_hold_exactly() {
    let io = Server::with_config(ServerConfig::default().max_rooms(2_usize)).namespace(namespace());
    let host = serve(io).await;
    let (mut ann, _) = client(&host, "ann").await;
    let (mut bob, _) = client(&host, "bob").await;
    assert_eq!(ann.ask(r#"421["join","garden"]"#).await, "431[]");

    host.io.of("/").sockets_join(["a"]).unwrap();
    assert_eq!(host.io.of("/").sockets_join(["b"]), Err(JoinError::TooManyRooms));
    assert_eq!(ann.ask(r#"421["rooms"]"#).await, "431[3]");
    assert_eq!(bob.ask(r#"421["rooms"]"#).await, "431[3]", "one that may still joins");

    let long = "x".repeat(4097);
    assert_eq!(host.io.to("nobody").sockets_join([&long[..4096]]), Ok(()));
    assert_eq!(host.io.to("nobody").sockets_join([&long]), Err(JoinError::NameTooLong));
    assert_eq!(host.io.of("/nowhere").sockets_join(["a"]), Err(JoinError::UnknownNamespace));
    assert!(matches!(host.io.of("/nowhere").sockets_leave(["a"]), Err(EmitError::UnknownNamespace)));
    assert!(matches!(host.io.of("/nowhere").close_sockets(), Err(EmitError::UnknownNamespace)));
}

#[tokio::test]
async fn sockets_are_disconnected_alone_or_with_their_connections() {
    let host = serve(Server::new().namespace(namespace()).namespace(Namespace::new("/other"))).await;
    let (mut ann, ann_id) = client(&host, "ann").await;
    let (mut bob, bob_id) = client(&host, "bob").await;
    ann.enter("/other").await;
    bob.enter("/other").await;

    host.io.to(&ann_id).disconnect_sockets().unwrap();
    assert_eq!(ann.text().await, "41");
    assert_eq!((host.io.socket_count("/"), host.io.socket_count("/other")), (1, 2));
    host.io.to(&bob_id).close_sockets().unwrap();
    assert_eq!(bob.text().await, "41");
    assert_eq!(bob.text().await, "41/other,");
    bob.ended().await;
    ann.close().await;
    host.deserted("/other").await;
}
