//! Names at their limits, and one byte above.

use socketio::{Ack, JoinError, Namespace, Server, ServerConfig, Socket};

use super::arena::Arena;
use crate::support::{Client, serve, text};

#[tokio::test]
async fn names_of_events_are_limited_exactly() {
    let mut arena = Arena::new().await;
    for name in ["e".repeat(256), "é".repeat(128)] {
        let namespace = Namespace::new("/").on(name.as_str(), async |_, ()| Ack("here"));
        let host = serve(Server::new().namespace(namespace)).await;
        let mut client = Client::join(&host).await;
        assert_eq!(client.ask(format!(r#"421["{name}"]"#)).await, r#"431["here"]"#);
    }
    for name in
        ["e".repeat(257), "é".repeat(129), "e".repeat(900_000), r"\u0065".repeat(257), "1".repeat(257)]
    {
        arena.refuses("a long name", &[text(format!(r#"42["{name}"]"#))]).await;
    }
    arena.refuses("a long number", &[text(format!("42[{}]", "1".repeat(257)))]).await;
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
    let config = || ServerConfig::default().max_name_length(8);
    let mut arena = Arena::with_config(config()).await;
    let mut client = arena.client().await;
    client.send(r#"42["12345678"]"#).await;
    assert_eq!(client.ask("40/1234567,").await, r#"44/1234567,{"message":"Invalid namespace"}"#);
    for packet in [r#"42["123456789"]"#, "40/12345678,"] {
        arena.refuses("a long name", &[text(packet)]).await;
    }

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
