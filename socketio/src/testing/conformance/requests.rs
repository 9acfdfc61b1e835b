//! Checks of requests to other servers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::fleet::{Fleet, Fleets, config, done, eventually, prompt, until_end};
use crate::{
    handles::{broadcast_ack::ServerAnswers, remote_socket::RemoteSocket},
    testing::TestClient,
};

/// The timeout of requests that are not answered completely.
const SHORT: Duration = Duration::from_secs(1);

async fn fetched(fleet: &Fleet, room: &str) -> Vec<RemoteSocket> {
    let found = prompt("`fetch_sockets`", fleet.server(0).to(room).fetch_sockets()).await;
    done(found, "all servers respond to `fetch_sockets`")
}

pub(super) async fn fetch(fleets: &Fleets<'_>) {
    let (fleet, clients) = fleets.start_with_clients(3).await;
    for number in 0..3 {
        let found = prompt("`fetch_sockets`", fleet.server(number).of("/").fetch_sockets()).await;
        let mut found: Vec<_> =
            done(found, "all servers respond").iter().map(|socket| socket.id().to_owned()).collect();
        let mut expected: Vec<_> = clients.iter().map(|client| client.id().to_owned()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert!(found == expected, "server {number} finds {found:?} instead of {expected:?}");
    }
    let found = fetched(&fleet, "2").await;
    let [socket] = &found[..] else { panic!("{} sockets are in a room of one", found.len()) };
    let mut rooms: Vec<_> = socket.rooms().iter().map(|room| &**room).collect();
    rooms.sort_unstable();
    let mut expected = ["2", "all", clients[2].id()];
    expected.sort_unstable();
    assert!(rooms == expected, "the socket is in {rooms:?} instead of {expected:?}");
    let data: Value = done(socket.data(), "the data is JSON");
    assert!(data == json!({ "name": 2 }), "the data of the socket is {data}");
    let version = socket.handshake().query("EIO");
    assert!(version.as_deref() == Some("4"), "the handshake has {version:?} instead of the query");
    assert!(fetched(&fleet, "nobody").await.is_empty(), "an empty room has sockets");
    fleet.close().await;
}

pub(super) async fn move_and_disconnect(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(3).await;
    let io = fleet.server(0);
    done(io.to("1").to("2").sockets_join(["garden", "house"]), "sockets join");
    // Requests may overtake other messages.
    finds(&fleet, "garden", 2).await;
    done(io.to("1").sockets_leave(["garden"]), "sockets leave");
    finds(&fleet, "garden", 1).await;
    finds(&fleet, "house", 2).await;
    done(io.to("house").except("garden").disconnect_sockets(), "sockets are disconnected");
    clients[1].disconnected().await;
    done(io.to("garden").close_sockets(), "connections are closed");
    clients[2].disconnected().await;
    finds(&fleet, "all", 1).await;
    fleet.close().await;
}

/// Waits until the expected number of sockets is in a room.
async fn finds(fleet: &Fleet, room: &str, expected: usize) {
    let what = format!("{expected} sockets are in the room `{room}`");
    eventually(&what, async || fetched(fleet, room).await.len() == expected).await;
}

/// Reads a question, and answers it.
async fn answer(client: &mut TestClient, answer: usize) {
    let event = client.event().await;
    assert!(event.name == "question" && event.ack.is_some(), "{event:?} is no question");
    done(client.answer(&event, &answer).await, "a client answers");
}

pub(super) async fn acks(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(3).await;
    for _ in 0..5 {
        let asked = done(fleet.server(0).to("all").emit_with_ack::<usize, _>("question", &()), "a question");
        for (number, client) in clients.iter_mut().enumerate() {
            answer(client, number).await;
        }
        let all = prompt("a broadcast with acknowledgements", asked.into_future()).await;
        let mut answers: Vec<_> = all.answers.iter().map(|(_, answer)| *answer).collect();
        answers.sort_unstable();
        let is_complete = all.missing.is_empty() && all.missing_servers.is_empty();
        assert!(answers == [0, 1, 2] && is_complete, "{all:?}");
    }
    let nobody = done(fleet.server(0).to("nobody").emit_with_ack::<usize, _>("question", &()), "a question");
    let all = prompt("a question to nobody", nobody.into_future()).await;
    let is_empty = all.answers.is_empty() && all.missing.is_empty() && all.missing_servers.is_empty();
    assert!(is_empty, "nobody was asked: {all:?}");
    fleet.close().await;
}

pub(super) async fn partial_acks(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(3).await;
    let asked = done(fleet.server(0).to("all").emit_with_ack::<usize, _>("question", &()), "a question");
    // The first two clients answer.
    for (number, client) in clients[..2].iter_mut().enumerate() {
        answer(client, number).await;
    }
    clients[2].event().await;
    let (start, request) = (Instant::now(), asked.timeout(SHORT));
    let all = prompt("a broadcast with acknowledgements", request.into_future()).await;
    let counts = (all.answers.len(), all.missing.len(), all.missing_servers.len());
    assert!(counts == (2, 1, 0), "answers, missing clients and missing servers are {counts:?}: {all:?}");
    let took = start.elapsed();
    assert!(took >= SHORT, "the request ends after {took:?}, before its timeout");
    fleet.close().await;
}

pub(super) async fn server_events(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(3).await;
    for number in 0..50 {
        done(fleet.server(0).server_side_emit("say", &number), "an event between servers is emitted");
    }
    for client in &mut clients[1..] {
        for number in 0..50 {
            let said: u32 = client.expect("said").await;
            assert!(said == number, "event {said} between servers arrives instead of {number}");
        }
    }
    fleet.end(0);
    for client in &mut clients {
        let more = until_end(client).await;
        assert!(more.is_empty(), "an event between servers arrives at its sender, or twice: {more:?}");
    }
    fleet.close().await;
}

async fn asked(fleet: &Fleet, event: &str, timeout: Duration) -> ServerAnswers<u32> {
    let sockets = fleet.server(0).of("/").timeout(timeout);
    let request = async {
        match event {
            "sum" => sockets.server_side_emit_with_ack(event, &(1, 2)).await,
            _ => sockets.server_side_emit_with_ack(event, &()).await,
        }
    };
    done(prompt("`server_side_emit_with_ack`", request).await, "an event between servers is emitted")
}

pub(super) async fn server_answers(fleets: &Fleets<'_>) {
    let fleet = fleets.start(3).await;
    let all = asked(&fleet, "sum", Duration::from_secs(20)).await;
    let sums: Vec<_> = all.answers.iter().map(|(_, sum)| *sum).collect();
    assert!(sums == [3, 3] && all.missing.is_empty(), "two servers answer 3: {all:?}");
    for event in ["hang", "an event without a handler"] {
        let all = asked(&fleet, event, SHORT).await;
        assert!(all.answers.is_empty() && all.missing.len() == 2, "`{event}` has no answers: {all:?}");
    }
    // What hangs disturbs nobody.
    let all = asked(&fleet, "sum", SHORT).await;
    assert!(all.answers.len() == 2, "two servers answer: {all:?}");
    fleet.close().await;
}

pub(super) async fn lonely_namespace(fleets: &Fleets<'_>) {
    let lonely = (fleets.start)(config(), Some("/lonely")).await;
    let other = (fleets.start)(config(), None).await;
    let fleet = Fleet { servers: vec![lonely, other] };
    fleet.connected().await;
    let sockets = fleet.server(0).of("/lonely");
    let found = prompt("`fetch_sockets`", sockets.clone().fetch_sockets()).await;
    let found = done(found, "no server is missing").len();
    assert!(found == 0, "{found} sockets are found where nobody is");
    let asked = done(sockets.emit_with_ack::<u32, _>("question", &()), "a question");
    let all = prompt("a broadcast with acknowledgements", asked.into_future()).await;
    assert!(all.answers.is_empty() && all.missing_servers.is_empty(), "nobody was asked: {all:?}");
    fleet.close().await;
}
