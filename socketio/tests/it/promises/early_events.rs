//! Tests that no event is lost that arrives after CONNECT and before the socket can handle it.

use std::sync::Arc;

use socketio::{Ack, ConnectError, Handshake, Namespace, Server, Socket};
use tokio::sync::Semaphore;

use crate::support::{Client, Host, Log, Polling, log, payload, serve, serve_namespace, text};

#[tokio::test]
async fn an_event_in_the_same_segment_as_everything_before_it_is_handled() {
    let host = serve_namespace(Namespace::new("/").on("first", async |_, n: u32| Ack(n))).await;
    for n in 0..100 {
        let frames = [text("40"), text(format!(r#"420["first",{n}]"#))];
        let mut client = Client::pipelined(&host, &frames).await;
        assert!(client.text().await.starts_with(r#"40{"sid":""#));
        assert_eq!(client.text().await, format!("430[{n}]"));
    }
}

#[tokio::test]
async fn an_event_in_the_same_post_as_connect_is_handled() {
    let host = serve_namespace(Namespace::new("/").on("first", async |_, n: u32| Ack(n))).await;
    for n in 0..100 {
        let mut client = Polling::open(&host).await;
        client.send(payload(&["40", &format!(r#"420["first",{n}]"#)])).await;
        let polled = client.poll().await;
        let (connect, answer) = polled.split_once('\u{1e}').unwrap();
        assert!(connect.starts_with(r#"40{"sid":""#));
        assert_eq!(answer, format!("430[{n}]"));
    }
}

/// Builds a namespace that lets a client wait until the server has read everything it sent before.
fn landmark() -> Namespace {
    Namespace::new("/landmark").on("reached", async |_, ()| ())
}

/// Connects a client that has sent CONNECT and ten events, all of which the server has read.
async fn early(host: &Host) -> Client {
    let mut client = Client::open(host).await;
    client.enter("/landmark").await;
    let frames: Vec<_> = (0..10).flat_map(|n| text(format!(r#"42/slow,{n}["n",{n}]"#))).collect();
    client.write([text("40/slow,"), frames].concat()).await;
    client
}

async fn reach_landmark(client: &mut Client) {
    assert_eq!(client.ask(r#"42/landmark,99["reached"]"#).await, "43/landmark,99[]");
}

async fn take_answers(client: &mut Client) {
    for n in 0..10 {
        assert_eq!(client.text().await, format!("43/slow,{n}[{n}]"));
    }
}

#[tokio::test]
async fn events_wait_for_a_slow_admission() {
    let gate = Arc::new(Semaphore::new(0));
    let (handled, mut heard) = log();
    let admit = {
        let gate = gate.clone();
        async move |_: Handshake| {
            gate.acquire().await.unwrap().forget();
            Ok::<_, ConnectError>(())
        }
    };
    let slow = Namespace::with_auth("/slow", admit).on("n", async move |_, n: u32| {
        handled.note(n);
        Ack(n)
    });
    let host = serve(Server::new().namespace(slow).namespace(landmark())).await;
    let mut client = early(&host).await;
    reach_landmark(&mut client).await;
    assert!(heard.is_silent(), "nothing is handled before the client is admitted");
    assert_eq!(host.io.socket_count("/slow"), 0);

    gate.add_permits(1);
    assert!(client.text().await.starts_with(r#"40/slow,{"sid":""#));
    take_answers(&mut client).await;
    assert_eq!(heard.so_far(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_wait_for_a_slow_connect_hook() {
    let gate = Arc::new(Semaphore::new(0));
    let (handled, heard) = log();
    let hook = {
        let gate = gate.clone();
        async move |socket: Socket| {
            gate.acquire().await.unwrap().forget();
            socket.emit("ready", &()).unwrap();
        }
    };
    let slow = Namespace::new("/slow").on_connect(hook).on("n", async move |_, n: u32| {
        handled.note(n);
        Ack(n)
    });
    let host = serve(Server::new().namespace(slow).namespace(landmark())).await;
    let mut client = early(&host).await;
    assert!(client.text().await.starts_with(r#"40/slow,{"sid":""#), "the client need not wait for the hook");
    reach_landmark(&mut client).await;
    assert!(heard.is_silent(), "nothing is handled before the hook has returned");
    assert_eq!(host.io.socket_count("/slow"), 1);

    gate.add_permits(1);
    assert_eq!(client.text().await, r#"42/slow,["ready"]"#);
    take_answers(&mut client).await;
}

#[tokio::test]
async fn what_the_connect_hook_emits_comes_after_the_answer_to_connect() {
    let host = serve_namespace(Namespace::new("/").on_connect(async |socket: Socket| {
        socket.emit("welcome", &socket.id()).unwrap();
        socket.namespace().emit("all", &()).unwrap();
        socket.join("room").unwrap();
        socket.namespace().to("room").emit("room", &()).unwrap();
    }))
    .await;
    for _ in 0..100 {
        let mut client = Client::open(&host).await;
        let sid = client.enter("/").await;
        assert_eq!(client.text().await, format!(r#"42["welcome","{sid}"]"#));
        assert_eq!(client.text().await, r#"42["all"]"#);
        assert_eq!(client.text().await, r#"42["room"]"#);
        client.close().await;
        host.deserted("/").await;
    }
}

#[tokio::test]
async fn an_admission_that_refuses_drops_the_events_and_leaves_nothing() {
    let (handled, heard) = log();
    let gate = Arc::new(Semaphore::new(0));
    let admit = {
        let gate = gate.clone();
        async move |_: Handshake| {
            gate.acquire().await.unwrap().forget();
            Err::<(), _>("no")
        }
    };
    let slow = Namespace::with_auth("/slow", admit).on("n", async move |_, n: u32| handled.note(n));
    let host = serve(Server::new().namespace(slow).namespace(landmark())).await;
    let mut client = early(&host).await;
    reach_landmark(&mut client).await;
    gate.add_permits(1);
    assert_eq!(client.text().await, r#"44/slow,{"message":"no"}"#);
    reach_landmark(&mut client).await;
    assert!(heard.is_silent());
    assert_eq!(host.io.socket_count("/slow"), 0);
}

#[tokio::test]
async fn the_admission_of_a_client_that_leaves_is_dropped() {
    struct Guard(Log<&'static str>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let (notes, mut heard) = log();
    let on_disconnect = notes.clone();
    let admit = async move |_: Handshake| {
        let _guard = Guard(notes.clone());
        notes.note("asked");
        std::future::pending::<Result<(), ConnectError>>().await
    };
    let host = serve_namespace(
        Namespace::with_auth("/", admit).on_disconnect(async move |_, _| on_disconnect.note("disconnected")),
    )
    .await;
    let mut client = Client::open(&host).await;
    client.write([text("40"), text(r#"42["n"]"#)].concat()).await;
    assert_eq!(heard.next().await, "asked");
    client.close().await;
    assert_eq!(heard.next().await, "dropped");
    host.deserted("/").await;
    assert!(heard.is_silent(), "who was never in the namespace does not leave it");
}
