//! Tests that a panic in application code affects no other handler, socket or session.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use socketio::{Ack, ConnectError, DisconnectReason, Handshake, Namespace, Server, Socket};
use tokio::task::yield_now;

use crate::support::{Client, log, serve, serve_namespace, within};

/// Panics when it is serialized or deserialized.
struct Bomb;

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("while reading")
    }
}

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("while writing")
    }
}

#[tokio::test]
async fn a_handler_that_panics_answers_with_an_error_and_the_session_goes_on() {
    let namespace = Namespace::new("/")
        .on("before", async |_, ()| -> () { panic!("before an await") })
        .on("after", async |_, ()| -> () {
            yield_now().await;
            panic!("after an await")
        })
        .on("call", |_: Socket, (): ()| -> std::future::Ready<()> { panic!("before there is a future") })
        .on("read", async |_, _: Bomb| ())
        .on("answer", async |_, ()| Ack(Bomb))
        .on("emit", async |socket, ()| socket.emit("bomb", &(1, Bomb)))
        .on("fine", async |_, n: u8| Ack(n));
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for event in ["before", "after", "call", "read", "answer", "emit"] {
        assert_eq!(
            client.ask(format!(r#"421["{event}",1]"#)).await,
            r#"431[{"error":"internal error"}]"#,
            "{event}"
        );
        // Without an id, no acknowledgement is sent.
        client.send(format!(r#"42["{event}",1]"#)).await;
        assert_eq!(client.ask(r#"422["fine",7]"#).await, "432[7]");
    }
}

#[tokio::test]
async fn handlers_that_panic_give_their_place_back() {
    let namespace = Namespace::new("/").max_in_flight(1).on("panic", async |_, ()| -> () {
        yield_now().await;
        panic!("a place would be lost")
    });
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for n in 0..100 {
        client.send(format!(r#"42{n}["panic"]"#)).await;
    }
    for n in 0..100 {
        assert_eq!(client.text().await, format!(r#"43{n}[{{"error":"internal error"}}]"#));
    }
}

#[tokio::test]
async fn an_admission_that_panics_refuses_the_client() {
    async fn admit(handshake: Handshake) -> Result<(), ConnectError> {
        match handshake.auth_json() {
            Some(r#"{"when":"before"}"#) => panic!("before an await"),
            Some(r#"{"when":"after"}"#) => {
                yield_now().await;
                panic!("after an await")
            }
            Some(_) => handshake.auth::<Bomb>().map(drop),
            None => Ok(()),
        }
    }
    let namespace = Namespace::with_auth("/", admit).on("fine", async |_, n: u8| Ack(n));
    let host = serve_namespace(namespace).await;
    let mut client = Client::open(&host).await;
    for when in ["before", "after", "while reading"] {
        let answer = client.ask(format!(r#"40{{"when":"{when}"}}"#)).await;
        assert_eq!(answer, r#"44{"message":"internal error"}"#, "{when}");
        assert_eq!(host.io.socket_count("/"), 0);
    }
    client.enter("/").await;
    assert_eq!(client.ask(r#"421["fine",7]"#).await, "431[7]");
}

#[tokio::test]
async fn a_connect_hook_that_panics_leaves_the_socket_connected() {
    for wait in [false, true] {
        let hook = async move |_: Socket| {
            if wait {
                yield_now().await;
            }
            panic!("in the connect hook")
        };
        let (notes, mut heard) = log();
        let namespace = Namespace::new("/")
            .on_connect(hook)
            .on("fine", async |_, n: u8| Ack(n))
            .on_disconnect(async move |_, reason: DisconnectReason| notes.note(reason));
        let host = serve_namespace(namespace).await;
        let mut client = Client::join(&host).await;
        assert_eq!(client.ask(r#"421["fine",7]"#).await, "431[7]");
        client.close().await;
        assert_eq!(heard.next().await.as_str(), "transport close");
    }
}

#[tokio::test]
async fn a_disconnect_hook_that_panics_leaves_nothing_behind() {
    for wait in [false, true] {
        let hook = async move |_: Socket, _: DisconnectReason| {
            if wait {
                yield_now().await;
            }
            panic!("in the disconnect hook")
        };
        let (notes, mut heard) = log();
        let namespace = Namespace::new("/")
            .on_connect(async |socket: Socket| socket.join("room").unwrap())
            .on_disconnect(hook);
        let beside = Namespace::new("/beside").on_disconnect(async move |_, _| notes.note("left"));
        let host = serve(Server::new().namespace(namespace).namespace(beside)).await;
        let mut client = Client::join(&host).await;
        client.enter("/beside").await;
        client.send("41").await;
        // The session is unaffected: the same client can connect again.
        client.enter("/").await;
        client.close().await;
        assert_eq!(heard.next().await, "left");
        host.deserted("/").await;
        within(host.io.close()).await;
    }
}
