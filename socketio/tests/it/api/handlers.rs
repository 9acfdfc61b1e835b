//! All forms in which handlers, hooks and `with_auth` functions can be written.

use std::{
    error::Error,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::Context as _;
use serde_json::{Value, json};
use socketio::{
    Ack, ConnectError, DisconnectReason, EventError, Handshake, JoinError, Namespace, Server, ServerConfig,
    Socket, TypedEvent, testing::TestServer,
};
use tracing::Level;

use super::logs::Lines;

fn serve<D: Send + Sync + 'static>(namespace: Namespace<D>) -> TestServer {
    TestServer::new(Server::new().namespace(namespace))
}

async fn with_anyhow(_: Socket, text: String) -> anyhow::Result<Ack<u32>> {
    Ok(Ack(text.parse().context("the text is no number")?))
}

async fn with_a_box(_: Socket, text: String) -> Result<Ack<u32>, Box<dyn Error + Send + Sync>> {
    Ok(Ack(text.parse()?))
}

async fn with_io(_: Socket, _: String) -> io::Result<()> {
    Err(io::Error::other("the disk is full"))
}

async fn with_text(_: Socket, text: String) -> Result<(), String> {
    Err(format!("not {text}"))
}

async fn with_all(socket: Socket, text: String) -> Result<Ack<u32>, EventError> {
    if text.is_empty() {
        Err("say something")?;
    }
    if text.len() > 4000 {
        socket.join(&*text)?;
    }
    if text == "anyhow" {
        Err(anyhow::anyhow!("this is internal"))?;
    }
    Ok(Ack(text.parse::<u32>()?))
}

#[tokio::test(start_paused = true)]
async fn any_error_is_an_answer() {
    let lines = Lines::new(Level::INFO).await;
    let namespace = Namespace::new("/")
        .on("anyhow", with_anyhow)
        .on("box", with_a_box)
        .on("io", with_io)
        .on("text", with_text)
        .on("all", with_all)
        .on("literal", async |_, ()| Err::<(), _>("no"))
        .on_unit("auth", async |socket: Socket| socket.handshake().auth::<u32>().map(Ack));
    let client = serve(namespace).connect("/").await;
    let long = "x".repeat(5000);
    for (event, arg, answer) in [
        ("anyhow", json!("7"), json!(7)),
        ("anyhow", json!("x"), json!({"error": "internal error"})),
        ("box", json!("8"), json!(8)),
        ("box", json!("x"), json!({"error": "internal error"})),
        ("io", json!("x"), json!({"error": "internal error"})),
        ("text", json!("now"), json!({"error": "not now"})),
        ("literal", json!("x"), json!({"error": "no"})),
        (
            "auth",
            json!(null),
            json!({"error": "invalid auth: invalid type: map, expected u32 at line 1 column 0"}),
        ),
        ("all", json!(""), json!({"error": "say something"})),
        ("all", json!("9"), json!(9)),
        ("all", json!("anyhow"), json!({"error": "internal error"})),
        ("all", json!(long), json!({"error": "the name of the room is too long"})),
    ] {
        assert_eq!(client.emit_with_ack::<Value, _>(event, &arg).await.unwrap(), answer, "{event} {arg}");
    }
    // Internal errors are logged with their chain of causes. Public errors are not logged as failures.
    let cause = "the text is no number: invalid digit found in string";
    assert_eq!(lines.with(&["WARN", r#"event="anyhow""#, cause]).len(), 1);
    assert_eq!(lines.with(&["WARN", r#"event="io""#, "the disk is full"]).len(), 1);
    assert_eq!(lines.with(&["event handler failed"]).len(), 4);
}

#[test]
fn errors_that_a_client_may_read_are_named() {
    let message = |error: JoinError| EventError::from(error).message().to_owned();
    assert_eq!(message(JoinError::TooManyRooms), JoinError::TooManyRooms.to_string());
    assert_eq!(message(JoinError::Disconnected), JoinError::Disconnected.to_string());
    assert!(EventError::from("text").cause().is_none());
    let error = EventError::from(io::Error::other("secret"));
    assert_eq!((error.message(), error.cause().unwrap().to_string()), ("internal error", "secret".into()));
}

#[tokio::test(start_paused = true)]
async fn an_admission_refuses_with_any_error() {
    async fn admit(handshake: Handshake) -> Result<(), ConnectError> {
        let auth: Value = handshake.auth()?;
        match auth["how"].as_str().context("no word")? {
            "text" => Err("not you")?,
            "io" => Err(io::Error::other("the database is gone"))?,
            _ => Ok(()),
        }
    }
    let lines = Lines::new(Level::INFO).await;
    let anyhow = Namespace::with_auth("/anyhow", async |_| Err::<(), _>(anyhow::anyhow!("out of order")));
    let server = TestServer::new(Server::new().namespace(Namespace::with_auth("/", admit)).namespace(anyhow));
    let refusal = async |namespace: &str, auth: Value| {
        server.client(namespace).auth(&auth).connect().await.map(drop).unwrap_err()
    };
    assert_eq!(refusal("/", json!({"how": "text"})).await, ConnectError::new("not you"));
    assert!(lines.with(&["the admission failed"]).is_empty());
    assert_eq!(refusal("/", json!({"how": "io"})).await, ConnectError::new("internal error"));
    assert_eq!(refusal("/", json!({})).await, ConnectError::new("internal error"));
    assert_eq!(refusal("/anyhow", json!({})).await, ConnectError::new("internal error"));
    for cause in ["the database is gone", "no word", "out of order"] {
        assert_eq!(lines.with(&["WARN", "the admission failed", cause]).len(), 1, "{cause}");
    }
    assert!(server.client("/").auth(&json!({"how": "well"})).connect().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn hooks_may_fail() {
    let lines = Lines::new(Level::INFO).await;
    let namespace = Namespace::new("/hooks")
        .on_connect(async |socket: Socket| {
            socket.join("x".repeat(5000))?;
            anyhow::Ok(())
        })
        .on_disconnecting(|_: &Socket, _: DisconnectReason| Err("too early"))
        .on_disconnect(async |socket, _| socket.emit("late", &()))
        .on_unit("here", async |_| ());
    let server = serve(namespace);
    let client = server.connect("/hooks").await;
    let () = client.emit_with_ack("here", &()).await.unwrap();
    client.disconnect().await;
    server.server().close().await;
    for (hook, error) in [
        ("the connect hook failed", "the name of the room is too long"),
        ("the disconnecting hook failed", "too early"),
        ("the disconnect hook failed", "the socket is disconnected"),
    ] {
        let found = lines.with(&["WARN", hook, error, r#"namespace="/hooks""#]);
        assert_eq!(found.len(), 1, "{hook}: {:#?}", lines.with(&[]));
    }
}

const PING: TypedEvent<()> = TypedEvent::new("ping");

#[tokio::test(start_paused = true)]
async fn handlers_without_arguments_and_namespaces_with_data() {
    let counter = Arc::new(AtomicU32::new(0));
    let namespace = Namespace::with_data("/", counter.clone())
        .on_unit("count", async |socket| Ack(socket.data().fetch_add(1, Ordering::Relaxed) + 1))
        .on_unit(PING, async |socket: Socket<_>| socket.emit("pong", &()));
    let server = serve(namespace);
    let (mut ann, bob) = (server.connect("/").await, server.connect("/").await);
    assert_eq!(ann.emit_with_ack::<u32, _>("count", &()).await.unwrap(), 1);
    // Additional arguments are ignored.
    assert_eq!(bob.emit_with_ack::<u32, _>("count", "more").await.unwrap(), 2);
    ann.emit(PING, &()).await.unwrap();
    let () = ann.expect("pong").await;
    assert_eq!(counter.load(Ordering::Relaxed), 2);
}

#[test]
fn names_of_hooks_are_no_events() {
    for (event, hook) in [
        ("connection", "on_connect"),
        ("connect", "on_connect"),
        ("disconnect", "on_disconnect"),
        ("disconnecting", "on_disconnecting"),
    ] {
        let on = || Namespace::new("/").on(event, async |_, ()| ());
        let panic = catch_unwind(AssertUnwindSafe(on)).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.ends_with(&format!("`Namespace::{hook}`")), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pattern_may_take_the_rest_of_a_path() {
    async fn open(handshake: Handshake) -> Result<(String, String), ConnectError> {
        Ok((handshake.param("user")?, handshake.param("path")?))
    }
    let files = Namespace::with_auth("/{user}/files/{*path}", open)
        .on_unit("where", async |socket: Socket<(String, String)>| Ack(socket.data().clone()));
    let server = TestServer::new(Server::with_config(ServerConfig::default()).dynamic(files));
    let client = server.connect("/ann/files/a/b/c.txt").await;
    let (user, path): (String, String) = client.emit_with_ack("where", &()).await.unwrap();
    assert_eq!((user.as_str(), path.as_str()), ("ann", "a/b/c.txt"));
    assert!(server.client("/ann/files/").connect().await.is_err());
}
