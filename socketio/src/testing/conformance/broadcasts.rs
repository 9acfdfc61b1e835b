//! Checks of events to clients.

use bytes::Bytes;
use serde_json::{Value, json};

use super::fleet::{Fleets, STRANGE, config, done, expect, join, until_end};
use crate::{hub::rooms::Room, testing::TestClient};

pub(super) async fn selections(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(3).await;
    let io = fleet.server(0);
    let emitted = [
        io.emit("a", &()),
        io.to("1").emit("b", &()),
        // In both rooms, and once.
        io.to("1").to("all").emit("c", &()),
        io.to("0").to("2").emit("d", &()),
        io.except("1").emit("e", &()),
        io.to("all").except("2").emit("f", &()),
        io.to(clients[2].id()).emit("g", &()),
        io.to("nobody").emit("h", &()),
        io.local().emit("i", &()),
    ];
    for emitted in emitted {
        done(emitted, "an event is emitted");
    }
    fleet.end(0);
    let expected: [&[&str]; 3] =
        [&["a", "c", "d", "e", "f", "i"], &["a", "b", "c", "f"], &["a", "c", "d", "e", "g"]];
    expect(&mut clients, &expected).await;
    // The sender is excluded on each server.
    done(clients[1].emit("others", "k").await, "a client emits");
    done(clients[1].emit("others", "end").await, "a client emits");
    done(fleet.server(1).to("1").emit("end", &()), "an event is emitted");
    expect(&mut clients, &[&["k"], &[], &["k"]]).await;
    fleet.close().await;
}

pub(super) async fn values(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(2).await;
    let values = [
        json!(null),
        json!([true, false, 0, -1, 9_007_199_254_740_991_u64, 1.5e300]),
        json!({ "": "", "a": { "b": [[], {}] } }),
        json!("ä€😀\u{0}\u{7f}\n\"\\'%$"),
        json!("x".repeat(20_000)),
    ];
    for value in &values {
        done(fleet.server(0).emit("value", &(value,)), "an event is emitted");
    }
    let bytes: Bytes = (0..=255).cycle().take(20_000).collect();
    let binary = (&bytes, "between", &Bytes::new());
    done(fleet.server(0).emit("binary", &binary), "an event is emitted");
    for value in &values {
        let (received,): (Value,) = clients[1].expect("value").await;
        assert!(received == *value, "{value} arrives as {received}");
    }
    let (first, between, second): (Bytes, String, Bytes) = clients[1].expect("binary").await;
    assert!(first == bytes && between == "between" && second.is_empty(), "binary data arrives changed");
    for room in ["", " ", "a#b", "*", "[?]", ".", "ä€😀", "'%$\"", "\u{0}", &"x".repeat(300)] {
        join(&clients[1], room).await;
        // The channel of the room may not be subscribed yet, but it is for a socket that this server has told to join.
        done(fleet.server(0).to("1").sockets_join([room]), "sockets join");
        done(fleet.server(0).to(Room::from(room)).emit("room", room), "an event is emitted");
        let received: String = clients[1].expect("room").await;
        assert!(received == room, "an event for the room {room:?} arrives as that for {received:?}");
    }
    fleet.close().await;
}

pub(super) async fn order(fleets: &Fleets<'_>) {
    const EVENTS: u32 = 300;
    let (fleet, mut clients) = fleets.start_with_clients(3).await;
    for number in 0..EVENTS {
        for sender in [0, 1] {
            let io = fleet.server(sender);
            let sockets = match number % 4 {
                0 => io.of("/"),
                1 => io.to("all"),
                2 => io.to(clients[2].id()),
                _ => io.to("2"),
            };
            done(sockets.emit("n", &(sender, number)), "an event is emitted");
        }
    }
    let mut next = [0, 0];
    for _ in 0..EVENTS * 2 {
        let (sender, number): (usize, u32) = clients[2].expect("n").await;
        let expected = next[sender];
        assert!(number == expected, "event {number} of server {sender} arrives instead of {expected}");
        next[sender] += 1;
    }
    fleet.close().await;
}

pub(super) async fn join_then_emit(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(2).await;
    let io = fleet.server(0);
    for number in 0..30 {
        let room = format!("new {number}");
        done(io.to("1").sockets_join([room.as_str()]), "sockets join");
        done(io.to(room.as_str()).emit("joined", &number), "an event is emitted");
        done(io.to("1").sockets_leave([room.as_str()]), "sockets leave");
        done(io.to(room.as_str()).emit("left", &number), "an event is emitted");
    }
    fleet.end(0);
    let events = until_end(&mut clients[1]).await;
    for (number, event) in events.iter().enumerate() {
        let is_next = event.name == "joined" && event.args.get(0).is_ok_and(|n: usize| n == number);
        assert!(is_next, "event {number} is {event:?}");
    }
    assert!(events.len() == 30, "{} of 30 events arrive", events.len());
    fleet.close().await;
}

pub(super) async fn rejoin(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(2).await;
    for _ in 0..30 {
        let () = done(clients[1].emit_with_ack("leave", "all").await, "a client leaves a room");
        join(&clients[1], "all").await;
    }
    // The subscription may take a moment.
    let mut number = 0;
    super::fleet::eventually("the room receives events", async || {
        number += 1;
        done(fleet.server(0).to("all").emit("n", &number), "an event is emitted");
        fleet.end(0);
        !until_end(&mut clients[1]).await.is_empty()
    })
    .await;
    for n in 0..30 {
        done(fleet.server(0).to("all").emit("n", &n), "an event is emitted");
    }
    fleet.end(0);
    let received = until_end(&mut clients[1]).await.len();
    assert!(received == 30, "{received} of 30 events arrive");
    fleet.close().await;
}

pub(super) async fn namespaces(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(2).await;
    let mut strange = fleet.servers[1].connect(STRANGE).await;
    join(&strange, "all").await;
    fleet.server(1).cluster_connected().await;
    let io = fleet.server(0);
    done(io.of(STRANGE).emit("strange", &()), "an event is emitted");
    done(io.of(STRANGE).to("all").emit("end", &()), "an event is emitted");
    done(io.of("/").to("all").emit("root", &()), "an event is emitted");
    fleet.end(0);
    expect(&mut clients[1..], &[&["root"]]).await;
    expect(std::slice::from_mut(&mut strange), &[&["strange"]]).await;
    // The last client of a child namespace removes it.
    for round in 0..5 {
        let (one, mut other) =
            (fleet.servers[0].connect("/child-1").await, fleet.servers[1].connect("/child-1").await);
        super::fleet::eventually("the child namespace receives events", async || {
            done(fleet.server(0).of("/child-1").emit("n", &round), "an event is emitted");
            received_by_now(&mut other).await
        })
        .await;
        one.disconnect().await;
        other.disconnect().await;
        super::fleet::eventually("the child namespace is removed", async || {
            fleet.servers.iter().all(|server| server.server().children("/child-{name}").count() == 0)
        })
        .await;
    }
    fleet.close().await;
}

async fn received_by_now(client: &mut TestClient) -> bool {
    let wait = std::time::Duration::from_millis(100);
    tokio::time::timeout(wait, client.next_event()).await.is_ok_and(|event| event.is_some())
}

pub(super) async fn local(fleets: &Fleets<'_>) {
    // The broker has had no time to connect.
    let server = (fleets.start)(config(), None).await;
    let mut client = server.connect("/").await;
    // An error means that the queue to the broker is full.
    let _ = server.server().emit("n", &1);
    let received: u8 = client.expect("n").await;
    assert!(received == 1, "another event is received");
    server.server().close().await;
}
