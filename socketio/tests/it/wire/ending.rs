//! Tests how the end of a socket or connection looks to the client, and that no packet follows it.

use socketio::{Ack, EmitError, Namespace, Server, Socket};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Host, log, serve, text};

/// Starts a server with two namespaces whose clients can disconnect their socket or close their session.
async fn host() -> Host {
    let namespace = |path: &str| {
        Namespace::new(path)
            .on("disconnect me", async |socket: Socket, ()| {
                socket.emit("before", &()).unwrap();
                socket.disconnect();
                assert!(matches!(socket.emit("late", &()), Err(EmitError::Disconnected)));
                socket.namespace().emit("late", &()).unwrap();
                Ack("late")
            })
            .on("close me", async |socket: Socket, ()| {
                socket.emit("before", &()).unwrap();
                socket.close();
                // The connection is closed, so none of this reaches the client.
                let _ = socket.emit("late", &());
                socket.namespace().emit("late", &()).unwrap();
                Ack("late")
            })
            .on("close session", async |socket: Socket, ()| {
                socket.emit("before", &()).unwrap();
                socket.session().close();
            })
            .on("mark", async |_, ()| ())
    };
    serve(Server::new().namespace(namespace("/")).namespace(namespace("/n"))).await
}

#[tokio::test]
async fn a_disconnected_socket_hears_so_and_nothing_more() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    client.enter("/n").await;
    client.send(r#"421["disconnect me"]"#).await;
    assert_eq!(client.text().await, r#"42["before"]"#);
    assert_eq!(client.text().await, "41");
    client.send(r#"42/n,1["disconnect me"]"#).await;
    assert_eq!(client.text().await, r#"42/n,["before"]"#);
    assert_eq!(client.text().await, "41/n,");
    // The connection stays open, and the client can connect again.
    client.enter("/").await;
    assert_eq!(client.ask(r#"422["mark"]"#).await, "432[]");
}

#[tokio::test]
async fn a_closed_connection_disconnects_all_its_sockets_and_ends() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    client.enter("/n").await;
    client.send(r#"42/n,1["close me"]"#).await;
    assert_eq!(client.text().await, r#"42/n,["before"]"#);
    let mut ends = [client.text().await, client.text().await];
    ends.sort();
    assert_eq!(ends, ["41", "41/n,"]);
    assert_eq!(client.ended().await, (1000, "forced close".into()));
    host.deserted("/").await;
    host.deserted("/n").await;
}

#[tokio::test]
async fn a_closed_session_ends_after_its_last_words() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    client.send(r#"421["close session"]"#).await;
    assert_eq!(client.text().await, r#"42["before"]"#);
    assert_eq!(client.text().await, "431[]");
    assert_eq!(client.ended().await, (1000, "forced close".into()));
}

/// Sends an event, `end`, and another event in one write, and returns the events that were handled.
async fn handled_around(end: &str) -> Vec<u8> {
    let (notes, mut heard) = log();
    let namespace = Namespace::new("/")
        .on("note", async move |_, n: u8| notes.note(n))
        .on("close", async |socket, ()| socket.close())
        .on("leave", async |socket, ()| socket.disconnect());
    let host = serve(Server::new().namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    client.write([text(r#"42["note",1]"#), text(end), text(r#"42["note",2]"#)].concat()).await;
    // This packet is handled last, if the connection is still open. Its response shows that all packets
    // before it have been handled.
    client.write(text("40")).await;
    while client.next().await.is_ok_and(|message| !is_connect(&message)) {}
    heard.so_far()
}

fn is_connect(message: &Message) -> bool {
    message.to_text().is_ok_and(|text| text.starts_with("40"))
}

#[tokio::test]
async fn no_event_of_a_socket_that_has_left_is_handled_though_it_came_in_the_same_segment() {
    for end in ["41", r#"42["leave"]"#] {
        assert_eq!(handled_around(end).await, [1], "after {end}");
    }
}

#[tokio::test]
async fn no_event_is_handled_after_the_client_has_closed() {
    assert_eq!(handled_around("1").await, [1]);
}

#[tokio::test]
async fn no_event_is_handled_after_the_server_has_closed() {
    assert_eq!(handled_around(r#"42["close"]"#).await, [1]);
}

#[tokio::test]
async fn no_event_is_handled_after_a_violation() {
    for end in
        ["49", "44{}", "40", "42", r#"42["connect"]"#, r#"42["note",]"#, "4", "42/unknown,[\"note\",2]", "9"]
    {
        assert_eq!(handled_around(end).await, [1], "after {end}");
    }
}
