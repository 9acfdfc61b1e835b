//! Tests that an acknowledgement resolves exactly once and then frees its place.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, join_all};
use socketio::{AckError, AckRequest, EmitError, Namespace, Server, ServerConfig, Socket};

use crate::support::{Client, Heard, Host, log, serve, within};

/// Starts a server and returns a log of the connected sockets.
async fn host(config: ServerConfig) -> (Host, Heard<Socket>) {
    let (sockets, connected) = log();
    let namespace =
        Namespace::new("/").on_connect(async move |socket| sockets.note(socket)).on("mark", async |_, ()| ());
    (serve(Server::with_config(config).namespace(namespace)).await, connected)
}

async fn pair(config: ServerConfig) -> (Host, Client, Socket) {
    let (host, mut connected) = host(config).await;
    let client = Client::join(&host).await;
    let socket = connected.next().await;
    (host, client, socket)
}

/// Emits an event with an acknowledgement, and returns the request and its id once the client has the event.
async fn asked<A>(client: &mut Client, socket: &Socket) -> (AckRequest<A>, String) {
    let request = socket.emit_with_ack("question", &());
    let packet = client.text().await;
    let id = packet.strip_prefix("42").and_then(|packet| packet.strip_suffix(r#"["question"]"#)).unwrap();
    (request, id.to_owned())
}

#[tokio::test]
async fn the_answer_arrives_as_the_type_that_was_asked_for() {
    let (_host, mut client, socket) = pair(ServerConfig::default()).await;
    let (request, id) = asked::<String>(&mut client, &socket).await;
    client.send(format!(r#"43{id}["tea"]"#)).await;
    assert_eq!(within(request).await.unwrap(), "tea");

    let (request, id) = asked::<(u8, Option<bool>)>(&mut client, &socket).await;
    client.send(format!("43{id}[1]")).await;
    assert!(matches!(within(request).await, Err(AckError::Decode(_))), "a tuple takes all its arguments");
    let (request, id) = asked::<(u8, Option<bool>)>(&mut client, &socket).await;
    client.send(format!("43{id}[1,null]")).await;
    assert_eq!(within(request).await.unwrap(), (1, None));

    let (request, id) = asked::<()>(&mut client, &socket).await;
    client.send(format!("43{id}[]")).await;
    within(request).await.unwrap();

    let (request, id) = asked::<Bytes>(&mut client, &socket).await;
    client.send(format!(r#"461-{id}[{{"_placeholder":true,"num":0}}]"#)).await;
    client.send_binary(b"leaves").await;
    assert_eq!(within(request).await.unwrap(), "leaves");
}

#[tokio::test]
async fn an_answer_of_another_type_is_an_error() {
    let (_host, mut client, socket) = pair(ServerConfig::default()).await;
    for answer in ["[]", r#"["x"]"#, "[{}]", "[300]", "[-1]"] {
        let (request, id) = asked::<u8>(&mut client, &socket).await;
        client.send(format!("43{id}{answer}")).await;
        assert!(matches!(within(request).await, Err(AckError::Decode(_))), "{answer}");
    }
}

#[tokio::test]
async fn without_an_answer_the_timeout_counts_and_a_late_answer_does_not() {
    let (_host, mut client, socket) = pair(ServerConfig::default().max_pending_acks(1_usize)).await;
    let (request, id) = asked::<u8>(&mut client, &socket).await;
    assert!(matches!(within(request.timeout(Duration::from_millis(20))).await, Err(AckError::Timeout)));
    client.send(format!("43{id}[1]")).await;

    // The place is free again, and the next response resolves the next request.
    let (request, id) = asked::<u8>(&mut client, &socket).await;
    client.send(format!("43{id}[2]")).await;
    assert_eq!(within(request).await.unwrap(), 2);
}

#[tokio::test]
async fn the_timeout_of_the_server_is_the_default() {
    let config = ServerConfig::default().ack_timeout(Duration::from_millis(20));
    let (_host, mut client, socket) = pair(config).await;
    let (request, _) = asked::<u8>(&mut client, &socket).await;
    assert!(matches!(within(request).await, Err(AckError::Timeout)));
}

#[tokio::test]
async fn a_socket_that_leaves_answers_with_disconnected() {
    for way in 0..4 {
        let (host, mut client, socket) = pair(ServerConfig::default()).await;
        let (request, _) = asked::<u8>(&mut client, &socket).await;
        let leave = async {
            match way {
                0 => client.send("41").await,
                1 => client.close().await,
                2 => socket.disconnect(),
                _ => {
                    host.io.close().await;
                }
            }
        };
        let (answer, ()) = join(within(request), leave).await;
        assert!(matches!(answer, Err(AckError::Disconnected)), "way {way}: {answer:?}");

        let late = within(socket.emit_with_ack::<u8, ()>("question", &())).await;
        assert!(matches!(late, Err(AckError::Emit(EmitError::Disconnected))), "way {way}: {late:?}");
    }
}

#[tokio::test]
async fn the_event_leaves_awaited_or_not_and_a_dropped_request_frees_its_place() {
    let (_host, mut client, socket) = pair(ServerConfig::default().max_pending_acks(1_usize)).await;
    for n in 0..100 {
        drop(socket.emit_with_ack::<u8, _>("question", &n));
        assert_eq!(client.text().await, format!(r#"42{n}["question",{n}]"#));
        client.send(format!("43{n}[1]")).await;
    }
    // Dropping a future that was polled frees its place as well.
    let (request, _) = asked::<u8>(&mut client, &socket).await;
    tokio::select! {
        biased;
        _ = request.into_future() => panic!("nobody has answered"),
        () = std::future::ready(()) => {}
    }
    let (request, id) = asked::<u8>(&mut client, &socket).await;
    client.send(format!("43{id}[7]")).await;
    assert_eq!(within(request).await.unwrap(), 7);
}

#[tokio::test]
async fn forged_and_repeated_answers_are_ignored() {
    let (host, mut connected) = host(ServerConfig::default()).await;
    let mut client = Client::join(&host).await;
    let socket = connected.next().await;
    let mut other = Client::join(&host).await;
    connected.next().await;

    let (request, id) = asked::<u8>(&mut client, &socket).await;
    // Ids that belong to another socket, ids that were never assigned, and the largest possible id.
    other.send(format!("43{id}[66]")).await;
    assert_eq!(other.ask(r#"425["mark"]"#).await, "435[]");
    for forged in [1000, u64::MAX] {
        client.send(format!("43{forged}[66]")).await;
        client.send(format!(r#"461-{forged}[{{"_placeholder":true,"num":0}}]"#)).await;
        client.send_binary(b"66").await;
    }
    client.send(format!("43{id}[1]")).await;
    client.send(format!("43{id}[66]")).await;
    assert_eq!(within(request).await.unwrap(), 1);
    assert_eq!(client.ask(r#"425["mark"]"#).await, "435[]");
}

#[tokio::test]
async fn the_limit_of_pending_acknowledgements_is_exact() {
    for (max, config) in
        [(16_384, ServerConfig::default()), (3, ServerConfig::default().max_pending_acks(3_usize))]
    {
        let (_host, mut client, socket) = pair(config).await;
        let requests: Vec<AckRequest<usize>> =
            (0..max).map(|n| socket.emit_with_ack("question", &n)).collect();
        let refused = within(socket.emit_with_ack::<u8, _>("question", "one too many")).await;
        assert!(matches!(refused, Err(AckError::Emit(EmitError::TooManyAcks))), "{refused:?}");
        for n in 0..max {
            assert_eq!(client.text().await, format!(r#"42{n}["question",{n}]"#));
            client.send(format!("43{n}[{n}]")).await;
        }
        let answers = within(join_all(requests.into_iter().map(IntoFuture::into_future))).await;
        assert!(answers.into_iter().map(Result::unwrap).eq(0..max));
        // Nothing was sent for the request that was rejected.
        assert_eq!(client.ask(r#"425["mark"]"#).await, "435[]");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_that_races_the_timeout_gives_one_of_both() {
    let (_host, mut client, socket) = pair(ServerConfig::default().max_pending_acks(64_usize)).await;
    let mut requests = Vec::new();
    let mut answered = 0;
    for round in 0..1000_u64 {
        let timeout = Duration::from_micros(round % 300);
        let request = socket.emit_with_ack::<u64, _>("question", &round).timeout(timeout);
        requests.push(tokio::spawn(request.into_future()));
        assert_eq!(client.text().await, format!(r#"42{round}["question",{round}]"#));
        client.send(format!("43{round}[{round}]")).await;
        if requests.len() == 64 {
            for (n, request) in (round - 63..).zip(requests.drain(..)) {
                match within(request).await.unwrap() {
                    Ok(answer) => {
                        assert_eq!(answer, n);
                        answered += 1;
                    }
                    Err(error) => assert!(matches!(error, AckError::Timeout), "{error:?}"),
                }
            }
        }
    }
    assert!(answered > 0);
}
