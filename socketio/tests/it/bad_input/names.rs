//! Names at the length limit, and one byte above.

use socketio::{Ack, JoinError, Namespace, Server, ServerConfig, Socket};
use tokio::sync::oneshot;

use super::arena::Arena;
use crate::support::{Client, log, serve, text};

#[tokio::test]
async fn names_of_events_are_limited_exactly() {
    const TOO_LONG: &str = r#"431[{"error":"the name of the event is too long"}]"#;
    for name in ["e".repeat(4096), "é".repeat(2048)] {
        let namespace = Namespace::new("/").on(name.as_str(), async |_, ()| Ack("here"));
        let host = serve(Server::new().namespace(namespace)).await;
        let mut client = Client::join(&host).await;
        assert_eq!(client.ask(format!(r#"421["{name}"]"#)).await, r#"431["here"]"#);
    }
    // A name that is too long fails the event but does not close the session.
    let host = serve(Server::new().namespace(Namespace::new("/").on("mark", async |_, ()| ()))).await;
    let mut client = Client::join(&host).await;
    for name in
        ["e".repeat(4097), "é".repeat(2049), "e".repeat(900_000), r"\u0065".repeat(4097), "1".repeat(4097)]
    {
        assert_eq!(client.ask(format!(r#"421["{name}"]"#)).await, TOO_LONG);
        client.send(format!(r#"42["{name}"]"#)).await;
    }
    assert_eq!(client.ask(format!("421[{}]", "1".repeat(4097))).await, TOO_LONG);
    assert_eq!(client.ask(r#"422["mark"]"#).await, "432[]");
}

#[tokio::test]
async fn a_long_name_waits_for_its_turn() {
    let (blocked, mut release) = log();
    let namespace = Namespace::new("/").max_in_flight(1).on("wait", async move |_: Socket, ()| {
        let (sender, receiver) = oneshot::channel::<()>();
        blocked.note(sender);
        let _ = receiver.await;
    });
    let host = serve(Server::new().namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    client.send(r#"421["wait"]"#).await;
    let release = release.next().await;
    client.send(format!(r#"422["{}"]"#, "e".repeat(4097))).await;
    release.send(()).unwrap();
    assert_eq!(client.text().await, "431[]");
    assert_eq!(client.text().await, r#"432[{"error":"the name of the event is too long"}]"#);
}

#[tokio::test]
async fn names_of_namespaces_are_limited_exactly() {
    let mut arena = Arena::new().await;
    let longest = format!("/{}", "n".repeat(255));
    let namespace = Namespace::new(longest.as_str()).on("here", async |socket, ()| Ack(socket.path().len()));
    let host = serve(Server::new().namespace(namespace)).await;
    let mut client = Client::open(&host).await;
    client.enter(&longest).await;
    assert_eq!(client.ask(format!(r#"42{longest},1["here"]"#)).await, format!("43{longest},1[256]"));
    let unknown = format!("/{}", "é".repeat(127));
    assert_eq!(
        client.ask(format!("40{unknown},")).await,
        format!(r#"44{unknown},{{"message":"Invalid namespace"}}"#)
    );

    let with_query = format!("/other?{}", "q".repeat(250));
    for name in
        [format!("{longest}n"), format!("{unknown}é"), with_query, format!("/{}", "n".repeat(900_000))]
    {
        for packet in
            [format!("40{name}"), format!("40{name},"), format!(r#"42{name},["args"]"#), format!("41{name},")]
        {
            arena.refuses("a long namespace", &[text(packet)]).await;
        }
    }
}

#[tokio::test]
async fn names_have_the_limit_of_the_config() {
    let config = || ServerConfig::default().max_name_length(8).max_namespace_length(9);
    let mut arena = Arena::with_config(config()).await;
    let mut client = arena.client().await;
    client.send(r#"42["12345678"]"#).await;
    let answer = client.ask(r#"421["123456789"]"#).await;
    assert_eq!(answer, r#"431[{"error":"the name of the event is too long"}]"#);
    assert_eq!(client.ask("40/12345678,").await, r#"44/12345678,{"message":"Invalid namespace"}"#);
    arena.refuses("a long name", &[text("40/123456789,")]).await;

    let namespace = Namespace::new("/").on("join", async |socket: Socket, room: String| {
        let fetched = socket.namespace().sockets_join([room.as_str()]);
        assert_eq!(socket.join(room), fetched);
        Ack(fetched == Err(JoinError::NameTooLong))
    });
    let host = serve(Server::with_config(config()).namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    assert_eq!(client.ask(r#"421["join","12345678"]"#).await, "431[false]");
    assert_eq!(client.ask(r#"421["join","123456789"]"#).await, "431[true]");
}
