//! Tests that a client that reads is never disconnected, however much it has requested, and that a client
//! that does not read is held back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{join, join_all};
use socketio::{
    Ack, AckError, CloseReason, DisconnectReason, EmitError, EngineConfig, Limit, Namespace, Server,
    ServerConfig, Socket,
};
use tokio::sync::Semaphore;

use crate::support::{Client, eventually, log, serve, serve_namespace, text};

#[tokio::test]
async fn a_handler_may_emit_many_events_at_once() {
    let namespace = Namespace::new("/")
        .on("burst", async |socket: Socket, n: u32| (0..n).try_for_each(|n| socket.emit("n", &n)))
        .on("binary", async |socket: Socket, n: u32| {
            (0..n).try_for_each(|n| socket.emit("n", &Bytes::copy_from_slice(&n.to_be_bytes())))
        });
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    client.send(r#"42["burst",60000]"#).await;
    for n in 0..60_000 {
        assert_eq!(client.text().await, format!(r#"42["n",{n}]"#));
    }
    client.send(r#"42["binary",10000]"#).await;
    for n in 0..10_000_u32 {
        assert!(client.text().await.starts_with(r#"451-["n","#));
        assert_eq!(client.next().await.unwrap().into_data(), n.to_be_bytes().to_vec());
    }
}

#[tokio::test]
async fn answers_that_the_client_does_not_read_hold_its_events_back() {
    answers_hold_events_back(EngineConfig::default()).await;
    // The budget has no room for a second answer, so the queue never exceeds `max_buffered`: answers wait instead.
    answers_hold_events_back(EngineConfig::default().max_buffered_total(1_000_000_usize)).await;
}

async fn answers_hold_events_back(engine: EngineConfig) {
    const EVENTS: usize = 40;
    let handled = Arc::new(AtomicUsize::new(0));
    let namespace = Namespace::new("/").on("get", {
        let handled = handled.clone();
        async move |_, len: usize| {
            handled.fetch_add(1, Ordering::Relaxed);
            Ack("x".repeat(len))
        }
    });
    let host = serve(Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    let events: Vec<u8> = (0..EVENTS).flat_map(|n| text(format!(r#"42{n}["get",600000]"#))).collect();
    client.write(events).await;
    let mut other = Client::join(&host).await;
    other.ask(r#"421["get",1]"#).await;
    // Only the responses accepted by the kernel and those that fit into the queue have been produced.
    assert!(handled.load(Ordering::Relaxed) < 20, "{handled:?}");
    for n in 0..EVENTS {
        let answer = client.text().await;
        assert!(answer.starts_with(&format!("43{n}[")) && answer.len() > 600_000);
    }
    assert_eq!(host.io.limit_hits(Limit::MaxBufferedHard), 0);
}

#[tokio::test]
async fn queued_events_of_a_client_that_reads_nothing_end_with_it() {
    let handled = Arc::new(AtomicUsize::new(0));
    let (ends, mut ended) = log();
    let namespace = Namespace::new("/")
        .on("get", {
            let handled = handled.clone();
            async move |_, len: usize| {
                handled.fetch_add(1, Ordering::Relaxed);
                Ack("x".repeat(len))
            }
        })
        .on_disconnect(async move |_, reason| ends.note(reason));
    let engine = EngineConfig::default().write_timeout(Duration::from_millis(200));
    let host = serve(Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    let events: Vec<u8> = (0..40).flat_map(|n| text(format!(r#"42{n}["get",600000]"#))).collect();
    client.write(events).await;
    // The hook runs after the last event.
    assert_eq!(ended.next().await, DisconnectReason::Closed(CloseReason::SlowConsumer));
    assert!(handled.load(Ordering::Relaxed) < 20, "{handled:?}");
}

#[tokio::test]
async fn clients_that_request_more_than_the_budget_together_all_get_their_answers() {
    const CLIENTS: usize = 100;
    const EVENTS: usize = 2;
    let namespace = Namespace::new("/")
        .on("get", async move |_, len: usize| Ack("x".repeat(len)))
        .on("echo", async |_, n: u32| Ack(n));
    // Each client would be owed 2 MB, and the budget is sufficient for eight of them.
    let engine = EngineConfig::default().max_buffered_total(16 << 20_usize);
    let host = serve(Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace)).await;
    let mut light = Client::join(&host).await;
    light.ask(r#"421["echo",1]"#).await;
    let clients = join_all((0..CLIENTS).map(|_| Client::join(&host))).await;
    let readers = clients.into_iter().map(|mut client| async move {
        // A short answer says nothing about the next ones.
        client.ask(r#"420["echo",1]"#).await;
        let events = (0..EVENTS).flat_map(|n| text(format!(r#"42{n}["get",1000000]"#)));
        client.write(events.collect::<Vec<u8>>()).await;
        for n in 0..EVENTS {
            assert!(client.text().await.starts_with(&format!("43{n}[")));
        }
    });
    let asks = async {
        for _ in 0..20 {
            assert_eq!(light.ask(r#"422["echo",2]"#).await, "432[2]");
            let mut newcomer = Client::join(&host).await;
            assert_eq!(newcomer.ask(r#"421["echo",3]"#).await, "431[3]");
        }
    };
    join(join_all(readers), asks).await;
    assert_eq!(host.io.limit_hits(Limit::MaxBufferedTotal), 0);
}

#[tokio::test]
async fn an_answer_waits_for_room_and_is_never_lost() {
    let gate = Arc::new(Semaphore::new(0));
    let namespace = Namespace::new("/").on("get", {
        let gate = gate.clone();
        async move |_, len: usize| {
            gate.acquire().await.unwrap().forget();
            Ack("x".repeat(len))
        }
    });
    let engine = EngineConfig::default().max_buffered(50_000_usize).max_buffered_hard(100_000_usize);
    let host = serve(Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    // All handlers run before the first one responds. Together, their responses exceed the hard limit by far.
    let events: Vec<u8> = (0..200).flat_map(|n| text(format!(r#"42{n}["get",60000]"#))).collect();
    client.write(events).await;
    gate.add_permits(200);
    let mut answers = [false; 200];
    for _ in 0..200 {
        let answer = client.text().await;
        let id = answer[2..].split('[').next().unwrap().parse::<usize>().unwrap();
        assert!(!std::mem::replace(&mut answers[id], true), "{id} twice");
    }
}

#[tokio::test]
async fn members_of_a_room_that_read_get_large_broadcasts_of_one_of_them() {
    let namespace = Namespace::new("/")
        .on("say", async |socket: Socket, n: u32| socket.namespace().emit("said", &(n, "x".repeat(100_000))));
    let host = serve_namespace(namespace).await;
    let (mut sender, mut reader) = (Client::join(&host).await, Client::join(&host).await);
    let events: Vec<u8> = (0..60).flat_map(|n| text(format!(r#"42["say",{n}]"#))).collect();
    sender.write(events).await;
    for client in [&mut sender, &mut reader] {
        for n in 0..60 {
            let said = client.text().await;
            assert!(said.starts_with(&format!(r#"42["said",{n},"x"#)), "{n}: {}", &said[..20]);
        }
    }
}

/// Emits an event with an acknowledgement to the client, and returns the result.
async fn ask_back(socket: Socket, n: u32) -> Ack<Result<u32, String>> {
    Ack(socket.emit_with_ack("question", &n).await.map_err(|error: AckError| error.to_string()))
}

#[tokio::test]
async fn handlers_that_ask_their_client_do_not_keep_each_other_from_running() {
    const EVENTS: u32 = 5000;
    let host = serve_namespace(Namespace::new("/").on("ask-back", ask_back)).await;
    let mut client = Client::join(&host).await;
    let payload = "x".repeat(300);
    let events: Vec<u8> =
        (0..EVENTS).flat_map(|n| text(format!(r#"42{n}["ask-back",{n},"{payload}"]"#))).collect();
    // The client acknowledges only after it has sent all of its events.
    client.write(events).await;
    let mut answers = Vec::new();
    while answers.len() < EVENTS as usize {
        let packet = client.text().await;
        if let Some(question) = packet.strip_prefix("42") {
            let (id, rest) = question.split_once('[').unwrap();
            let n = rest.trim_end_matches(']').rsplit(',').next().unwrap();
            client.send(format!("43{id}[{n}]")).await;
        } else {
            let (id, _) = packet.strip_prefix("43").unwrap().split_once('[').unwrap();
            assert_eq!(packet, format!(r#"43{id}[{{"Ok":{id}}}]"#));
            answers.push(id.parse::<u32>().unwrap());
        }
    }
    answers.sort_unstable();
    assert!(answers.into_iter().eq(0..EVENTS));
}

#[tokio::test]
async fn handlers_that_ask_their_client_are_limited_for_a_connection() {
    let started = Arc::new(AtomicUsize::new(0));
    let namespace = |path| {
        let started = started.clone();
        Namespace::new(path).max_in_flight(2).on("ask", async move |socket: Socket, ()| {
            started.fetch_add(1, Ordering::Relaxed);
            let _ = socket.emit_with_ack::<u32, _>("question", &()).await;
        })
    };
    let config = ServerConfig::default().max_pending_acks(8_usize);
    let host = serve(Server::with_config(config).namespace(namespace("/")).namespace(namespace("/b"))).await;
    let mut client = Client::join(&host).await;
    client.send("40/b,").await;
    assert!(client.text().await.starts_with("40/b,"));
    client.write([text(r#"42["ask"]"#).repeat(20), text(r#"42/b,["ask"]"#).repeat(20)].concat()).await;
    // One socket has reached its limit of pending acknowledgements, the other its `max_in_flight`.
    for _ in 0..10 {
        assert!(client.text().await.contains("question"));
    }
    eventually(|| started.load(Ordering::Relaxed) == 10).await;
    // After three acknowledgements, the connection is below the limit again.
    for id in 0..3 {
        client.send(format!("43{id}[1]")).await;
    }
    assert!(client.text().await.contains("question"));
    assert_eq!(started.load(Ordering::Relaxed), 11);
}

#[tokio::test]
async fn one_handler_may_ask_two_thousand_questions_at_once() {
    let namespace = Namespace::new("/").on("ask", async |socket: Socket, n: u32| {
        let requests: Vec<_> = (0..n).map(|n| socket.emit_with_ack::<u32, _>("question", &n)).collect();
        let mut sum = 0;
        for request in requests {
            sum += request.await?;
        }
        Ok::<_, socketio::EventError>(Ack(sum))
    });
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    client.send(r#"421["ask",2000]"#).await;
    for n in 0..2000 {
        assert_eq!(client.text().await, format!(r#"42{n}["question",{n}]"#));
        client.send(format!("43{n}[{n}]")).await;
    }
    assert_eq!(client.text().await, format!("431[{}]", 1999 * 2000 / 2));
}

#[tokio::test]
async fn a_client_that_leaves_is_out_of_its_rooms_whatever_waits() {
    for leaves in ["41", "close"] {
        let gate = Arc::new(Semaphore::new(0));
        let (starts, mut started) = log();
        let namespace =
            Namespace::new("/").on_connect(async |socket: Socket| socket.join("room").unwrap()).on("work", {
                let gate = gate.clone();
                async move |socket: Socket, n: u32| {
                    starts.note(n);
                    gate.acquire().await.unwrap().forget();
                    assert!(matches!(socket.emit("done", &n), Err(EmitError::Disconnected)));
                }
            });
        let config = ServerConfig::default().disconnect_grace(Duration::from_secs(100));
        let host = serve(Server::with_config(config).namespace(namespace)).await;
        let mut client = Client::join(&host).await;
        let events: Vec<u8> = (0..1000).flat_map(|n| text(format!(r#"42["work",{n}]"#))).collect();
        client.write(events).await;
        started.take(256).await;
        if leaves == "41" {
            client.send(leaves).await;
        } else {
            client.close().await;
        }
        eventually(|| host.io.socket_count("/") == 0).await;
        // Queued events are still handled, one after the other.
        assert!(started.is_silent());
        gate.add_permits(1000);
        started.take(1000 - 256).await;
        eventually(|| gate.available_permits() == 0).await;
    }
}
