//! Tests that every recipient of a broadcast resolves exactly once, and that no response is discarded in
//! favor of another.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use socketio::{
    AckError, BroadcastAckRequest, BroadcastAnswers, EmitError, Namespace, Server, ServerConfig, Socket,
};

use crate::support::{Client, Heard, Host, log, serve, within};

async fn host(config: ServerConfig) -> (Host, Heard<Socket>) {
    let (sockets, connected) = log();
    let namespace = Namespace::new("/").on_connect(async move |socket| sockets.note(socket)).on(
        "mark",
        async |socket: Socket, ()| {
            let _ = socket.join("marked");
        },
    );
    (serve(Server::with_config(config).namespace(namespace)).await, connected)
}

/// Connects `count` clients and returns them with their socket ids.
async fn clients(host: &Host, count: usize) -> Vec<(Client, String)> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::open(host).await;
        let id = client.enter("/").await;
        clients.push((client, id));
    }
    clients
}

/// Receives a question and returns its acknowledgement id.
async fn question(client: &mut Client) -> String {
    let packet = client.text().await;
    let id = packet.strip_prefix("42").and_then(|packet| packet.strip_suffix(r#"["question"]"#));
    id.unwrap_or_else(|| panic!("{packet}")).to_owned()
}

fn ask(host: &Host) -> BroadcastAckRequest<u8> {
    host.io.of("/").emit_with_ack("question", &()).unwrap()
}

fn missing<A>(answers: &BroadcastAnswers<A>) -> Vec<(&str, &AckError)> {
    answers.missing.iter().map(|(id, error)| (id.as_str(), error)).collect()
}

#[tokio::test]
async fn a_stream_yields_answers_as_they_arrive_and_ends_by_itself() {
    let (host, _connected) = host(ServerConfig::default()).await;
    let mut clients = clients(&host, 3).await;
    let mut request = ask(&host);
    let mut ids = Vec::new();
    for (client, _) in &mut clients {
        ids.push(question(client).await);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "one packet for all: {ids:?}");
    assert!(request.next().now_or_never().is_none());
    for (at, answer) in [(2, 7), (0, 8), (1, 9)] {
        let (client, sid) = &mut clients[at];
        client.send(format!("43{}[{answer}]", ids[at])).await;
        let (from, given) = within(request.next()).await.unwrap();
        assert_eq!((from, given.unwrap()), (sid.clone(), answer));
        // A second acknowledgement from the same client is ignored.
        client.send(format!("43{}[66]", ids[at])).await;
    }
    assert!(within(request.next()).await.is_none());
}

#[tokio::test]
async fn answers_and_those_who_gave_none_are_all_told() {
    let (host, mut connected) = host(ServerConfig::default()).await;
    let mut clients = clients(&host, 5).await;
    let sockets = connected.take(5).await;
    let request = ask(&host);
    let mut answers = ["[1]", r#"["no number"]"#].into_iter();
    for (client, _) in &mut clients {
        let id = question(client).await;
        if let Some(answer) = answers.next() {
            client.send(format!("43{id}{answer}")).await;
            assert_eq!(client.ask(r#"427["mark"]"#).await, "437[]");
        }
    }
    sockets[2].disconnect();
    clients[3].0.send("41").await;
    let all = within(request.timeout(Duration::from_millis(300))).await;
    assert_eq!(all.answers, [(clients[0].1.clone(), 1)]);
    for (id, error) in missing(&all) {
        let at = clients.iter().position(|(_, sid)| sid == id).unwrap();
        match (at, error) {
            (1, AckError::Decode(_)) | (2 | 3, AckError::Disconnected) | (4, AckError::Timeout) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(all.missing.len(), 4);
}

#[tokio::test]
async fn one_who_leaves_is_not_waited_for() {
    let (host, _connected) = host(ServerConfig::default().ack_timeout(Duration::from_hours(1))).await;
    let mut clients = clients(&host, 2).await;
    let request = ask(&host);
    let (mut gone, _) = clients.pop().unwrap();
    question(&mut gone).await;
    gone.close().await;
    let id = question(&mut clients[0].0).await;
    clients[0].0.send(format!("43{id}[1]")).await;
    let all = within(request).await;
    assert_eq!((all.answers.len(), all.missing.len()), (1, 1));
    assert!(matches!(all.missing[0].1, AckError::Disconnected));
}

#[tokio::test]
async fn nobody_is_an_answer_and_a_fault_is_an_error() {
    let (host, _connected) = host(ServerConfig::default()).await;
    let nobody = within(ask(&host)).await;
    assert!(nobody.answers.is_empty() && nobody.missing.is_empty());

    let unknown = host.io.of("/nowhere").emit_with_ack::<u8, _>("question", &());
    assert!(matches!(unknown, Err(EmitError::UnknownNamespace)));
    let reserved = host.io.of("/").emit_with_ack::<u8, _>("disconnect", &());
    assert!(matches!(reserved, Err(EmitError::ReservedEvent)));
}

#[tokio::test]
async fn the_timeout_of_the_server_is_the_default_and_frees_the_places() {
    let config = ServerConfig::default().ack_timeout(Duration::from_millis(20)).max_pending_acks(1_usize);
    let (host, _connected) = host(config).await;
    let mut clients = clients(&host, 1).await;
    let (client, sid) = &mut clients[0];
    let all = within(ask(&host)).await;
    assert!(matches!(&missing(&all)[..], [(id, AckError::Timeout)] if id == sid));
    let late = question(client).await;
    client.send(format!("43{late}[1]")).await;

    let request = ask(&host).timeout(Duration::from_secs(20));
    let id = question(client).await;
    assert_ne!(id, late);
    client.send(format!("43{id}[2]")).await;
    assert_eq!(within(request).await.answers, [(sid.clone(), 2)]);
}

#[tokio::test]
async fn broadcasts_count_against_the_limit_of_each_socket_exactly() {
    let (host, mut connected) = host(ServerConfig::default().max_pending_acks(2_usize)).await;
    let mut clients = clients(&host, 2).await;
    let sockets = connected.take(2).await;
    // The first client already has a pending acknowledgement.
    let own =
        sockets.iter().find(|socket| socket.id() == clients[0].1).unwrap().emit_with_ack::<u8, _>("own", &());
    assert_eq!(clients[0].0.text().await, r#"420["own"]"#);

    let (first, second) = (ask(&host), ask(&host));
    let at_limit = question(&mut clients[0].0).await;
    clients[0].0.send(format!("43{at_limit}[1]")).await;
    for _ in 0..2 {
        let (client, _) = &mut clients[1];
        let id = question(client).await;
        client.send(format!("43{id}[1]")).await;
    }
    assert_eq!(within(first).await.answers.len(), 2);
    let second = within(second).await;
    assert_eq!(second.answers, [(clients[1].1.clone(), 1)]);
    assert!(
        matches!(&missing(&second)[..], [(id, AckError::Emit(EmitError::TooManyAcks))] if *id == clients[0].1),
        "{second:?}"
    );
    clients[0].0.send("430[9]").await;
    assert_eq!(within(own).await.unwrap(), 9);
    // Nothing was sent to the client whose limit was reached.
    assert_eq!(clients[0].0.ask(r#"427["mark"]"#).await, "437[]");
}

#[tokio::test]
async fn a_dropped_request_frees_its_places() {
    let (host, _connected) = host(ServerConfig::default().max_pending_acks(1_usize)).await;
    let mut clients = clients(&host, 1).await;
    let (client, sid) = &mut clients[0];
    for _ in 0..3 {
        drop(ask(&host));
        question(client).await;
        // A future that was polled and then dropped frees its place as well.
        let mut future = IntoFuture::into_future(ask(&host));
        assert!((&mut future).now_or_never().is_none());
        drop(future);
        question(client).await;
    }
    let request = ask(&host);
    let id = question(client).await;
    client.send(format!("43{id}[5]")).await;
    assert_eq!(within(request).await.answers, [(sid.clone(), 5)]);
}

#[tokio::test]
async fn rooms_choose_who_is_asked() {
    let (host, _connected) = host(ServerConfig::default()).await;
    let mut clients = clients(&host, 2).await;
    assert_eq!(clients[1].0.ask(r#"427["mark"]"#).await, "437[]");
    let request = host.io.to("marked").emit_with_ack::<u8, _>("question", &()).unwrap();
    let id = question(&mut clients[1].0).await;
    clients[1].0.send(format!("43{id}[5]")).await;
    assert_eq!(within(request).await.answers, [(clients[1].1.clone(), 5)]);
    assert_eq!(clients[0].0.ask(r#"427["mark"]"#).await, "437[]");
}
