//! Tests the clients of the feature `testing`.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use socketio::{
    Ack, AckError, Args, ConnectError, ConnectionStateRecovery, DisconnectReason, EmitError, Handshake,
    Namespace, Server, ServerConfig, Socket, TypedEvent, testing::TestServer,
};
use tokio::sync::mpsc;

const SAID: TypedEvent<(String, u8)> = TypedEvent::new("said");

fn chat() -> TestServer {
    let chat = Namespace::new("/chat")
        .on("join", async |socket, room: String| socket.join(room))
        .on(SAID, async |socket, said| socket.to("lobby").emit(SAID, &said))
        .on("echo", async |socket, args: Args| {
            let _ = socket.emit("echo", &args);
            Ack(args)
        })
        .on("ask", async |socket: Socket, question: String| {
            let answer: Result<String, AckError> = socket.emit_with_ack("question", &question).await;
            socket.emit("answered", &answer.unwrap_or_else(|error| error.to_string()))
        })
        .on("kick", async |socket, ()| socket.disconnect());
    TestServer::new(Server::new().namespace(chat))
}

#[tokio::test(start_paused = true)]
async fn events_and_acknowledgements_go_both_ways() {
    let server = chat();
    let (ann, mut bob) = (server.connect("/chat").await, server.connect("/chat").await);
    assert_ne!(ann.id(), bob.id());
    let () = bob.emit_with_ack("join", "lobby").await.unwrap();
    ann.emit(SAID, &("hello".to_owned(), 7)).await.unwrap();
    assert_eq!(bob.expect(SAID).await, ("hello".to_owned(), 7));

    bob.emit("ask", "why?").await.unwrap();
    let question = bob.event().await;
    assert_eq!((question.name.as_str(), question.args.json()), ("question", r#"["why?"]"#));
    bob.answer(&question, "because").await.unwrap();
    assert_eq!(bob.expect::<String>("answered").await, "because");

    bob.emit("ask", "and?").await.unwrap();
    assert!(bob.event().await.ack.is_some());
    let start = tokio::time::Instant::now();
    let answered = loop {
        // The test client gives up before the default acknowledgement timeout, so wait repeatedly.
        if let Ok(event) = tokio::time::timeout(Duration::from_secs(1), bob.event()).await {
            break event;
        }
    };
    assert_eq!(answered.args.json(), r#"["operation has timed out"]"#);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn bytes_travel_as_attachments() {
    let server = chat();
    let mut client = server.connect("/chat").await;
    let sent = (Bytes::from_static(b"\x00\xff"), "between".to_owned(), Bytes::from(vec![7; 100_000]));
    let answer: (Bytes, String, Bytes) = client.emit_with_ack("echo", &sent).await.unwrap();
    assert_eq!(answer, sent);
    assert_eq!(client.expect::<(Bytes, String, Bytes)>("echo").await, sent);
}

#[tokio::test(start_paused = true)]
async fn answers_of_another_type_are_errors() {
    let client = chat().connect("/chat").await;
    let answer: Result<u8, _> = client.emit_with_ack("echo", "text").await;
    assert!(matches!(answer, Err(AckError::Decode(_))), "{answer:?}");
    // The handler expects a string.
    let answer: Args = client.emit_with_ack("join", &1).await.unwrap();
    assert!(answer.json().contains("error"), "{answer:?}");
    let start = tokio::time::Instant::now();
    let answer: Result<(), _> = client.emit_with_ack("nobody listens", &()).await;
    assert!(matches!(answer, Err(AckError::Timeout)), "{answer:?}");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_bring_more_and_may_be_refused() {
    async fn admit(handshake: Handshake) -> Result<String, ConnectError> {
        let auth: Value = handshake.auth().unwrap_or_default();
        let refuse = || ConnectError::new("who?").data(serde_json::json!({ "code": 401 }));
        let name = auth["name"].as_str().ok_or_else(refuse)?;
        let room = handshake.query("room").unwrap_or_default();
        Ok(format!("{name} {room} {}", handshake.header("x-lang").unwrap_or_default()))
    }
    let namespace =
        Namespace::with_auth("/", admit).on("whoami", async |socket, ()| Ack(socket.data().clone()));
    let server = TestServer::new(Server::new().namespace(namespace));

    let auth = serde_json::json!({ "name": "Ann" });
    let ann = server.client("/").auth(&auth).header("x-lang", "fr").query("room", "a&b").connect().await;
    let name: String = ann.unwrap().emit_with_ack("whoami", &()).await.unwrap();
    assert_eq!(name, "Ann a&b fr");
    // The connect payload must be an object in protocol 5.
    let refuse = server.client("/").auth(&"Ann").connect().await.unwrap_err();
    assert_eq!(refuse.message(), "the server has closed the connection");
    let refuse = server.client("/").connect().await.unwrap_err();
    assert_eq!(refuse, ConnectError::new("who?").data(serde_json::json!({ "code": 401 })));
    let refuse = server.client("/nowhere").connect().await.unwrap_err();
    assert_eq!(refuse.message(), "Invalid namespace");
    let evil = server.client("/").header("host", "good.example").header("origin", "http://evil.example");
    assert_eq!(evil.connect().await.unwrap_err().message(), r#"{"code":4,"message":"Origin not allowed"}"#);
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_end_is_told() {
    let (reasons, mut heard) = mpsc::channel(10);
    let namespace = Namespace::new("/")
        .on("kick", async |socket, ()| socket.disconnect())
        .on_disconnect(async move |_, reason| reasons.send(reason).await.unwrap());
    let server = TestServer::new(Server::new().namespace(namespace));

    server.connect("/").await.disconnect().await;
    assert_eq!(heard.recv().await.unwrap(), DisconnectReason::ClientNamespaceDisconnect);

    drop(server.connect("/").await);
    assert_eq!(heard.recv().await.unwrap().as_str(), "transport error");

    let mut client = server.connect("/").await;
    client.emit("kick", &()).await.unwrap();
    client.disconnected().await;
    assert_eq!(heard.recv().await.unwrap(), DisconnectReason::ServerNamespaceDisconnect);
    drop(client);

    let mut client = server.connect("/").await;
    tokio::join!(server.server().close(), client.disconnected());
    assert_eq!(heard.recv().await.unwrap().as_str(), "server shutting down");
    assert!(matches!(client.emit("kick", &()).await, Err(EmitError::Disconnected)));
    assert_eq!(server.server().session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_hour_passes_in_no_time() {
    let server = chat();
    let mut client = server.connect("/chat").await;
    client.expect_nothing(Duration::from_hours(1)).await;
    let echo: String = client.emit_with_ack("echo", "still here").await.unwrap();
    assert_eq!(echo, "still here");
    assert_eq!(server.server().session_count(), 1);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "not `said` but")]
async fn the_wrong_event_fails_a_test() {
    let mut client = chat().connect("/chat").await;
    client.emit("echo", &1).await.unwrap();
    client.expect(SAID).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "no event within 5s")]
async fn no_event_fails_a_test() {
    chat().connect("/chat").await.event().await;
}

#[cfg(feature = "msgpack")]
#[tokio::test(start_paused = true)]
async fn clients_use_the_parser_of_the_server() {
    let echo = Namespace::new("/").on("echo", async |socket, args: Args| {
        let _ = socket.emit("echo", &args);
        Ack(args)
    });
    let refusing = Namespace::with_auth("/no", async |_| Err::<(), _>(ConnectError::new("no entry")));
    let config = ServerConfig::default().parser(socketio::MsgpackParser::default());
    let server = TestServer::new(Server::with_config(config).namespace(echo).namespace(refusing));
    let mut client = server.connect("/").await;
    let values = ("text".to_owned(), Bytes::from_static(b"bytes"));
    let answer: (String, Bytes) = client.emit_with_ack("echo", &values).await.unwrap();
    assert_eq!((answer, client.expect("echo").await), (values.clone(), values));
    assert_eq!(server.client("/no").connect().await.unwrap_err().message(), "no entry");
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_comes_back_and_shows_no_offset() {
    let config = ServerConfig::default().connection_state_recovery(ConnectionStateRecovery::default());
    let namespace = Namespace::with_auth("/", async |handshake: Handshake| handshake.auth::<Value>())
        .on("join", async |socket: Socket<Value>, room: String| socket.join(room));
    let server = TestServer::new(Server::with_config(config).namespace(namespace));
    let io = server.server();
    let mut client = server.client("/").auth(&json!({ "name": "ann" })).connect().await.unwrap();
    assert!(!client.recovered());
    let id = client.id().to_owned();
    let () = client.emit_with_ack("join", "room").await.unwrap();
    let sent = (Bytes::from_static(b"abc"), "text".to_owned());
    io.emit("a", &sent).unwrap();
    assert_eq!(client.event().await.args.len(), 2);
    io.emit("a", &sent).unwrap();
    assert_eq!(client.expect::<(Bytes, String)>("a").await, sent);
    let asked = io.of("/").emit_with_ack::<(), _>("question", "text").unwrap();
    assert_eq!(client.event().await.args.json(), r#"["text"]"#);
    drop(asked);
    io.of("/").emit("none", &()).unwrap();
    assert_eq!(client.event().await.args.json(), "[]");

    io.emit("not taken", &1).unwrap();
    let gone = server.client("/").auth(&json!({ "name": "ann" })).recover(client);
    io.to("room").emit("missed", &2).unwrap();
    let mut client = gone.connect().await.unwrap();
    assert!(client.recovered());
    assert_eq!(client.id(), id);
    assert_eq!(client.expect::<u8>("not taken").await, 1);
    assert_eq!(client.event().await.args.json(), "[2]", "and nothing comes twice");
    io.emit("last", &()).unwrap();
    client.expect::<()>("last").await;

    // A client that is away for too long gets a new session.
    let gone = server.client("/").auth(&json!({})).recover(server.connect("/").await);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(!gone.connect().await.unwrap().recovered());
}
