//! Checks of servers that start and leave.

use std::time::Duration;

use futures::future::join;

use super::fleet::{Fleets, STRANGE, config, counts, done, prompt, until_end};

pub(super) async fn count(fleets: &Fleets<'_>) {
    let mut fleet = fleets.start(2).await;
    for _ in 0..2 {
        fleet.servers.push((fleets.start)(config(), None).await);
        fleet.connected().await;
    }
    for _ in 0..2 {
        if let Some(server) = fleet.servers.pop() {
            server.server().close().await;
        }
        for path in ["/", STRANGE] {
            for server in &fleet.servers {
                counts(server, path, fleet.servers.len()).await;
            }
        }
    }
    // A server that is dropped leaves too.
    drop(fleet.servers.pop());
    counts(&fleet.servers[0], "/", 1).await;
    fleet.close().await;
}

pub(super) async fn flush(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(2).await;
    for number in 0..100 {
        done(fleet.server(0).emit("n", &number), "an event is emitted");
    }
    prompt("`Server::close`", fleet.server(0).close()).await;
    for number in 0..100 {
        let received: u32 = clients[1].expect("n").await;
        assert!(received == number, "event {received} arrives instead of {number}");
    }
    fleet.close().await;
}

pub(super) async fn silence(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(2).await;
    let gone = fleet.server(0);
    gone.close().await;
    // These must not panic. Whether they return an error is not specified.
    let _ = gone.emit("late", &());
    let _ = gone.server_side_emit("say", &1);
    let found = prompt("`fetch_sockets` of a server that has left", gone.of("/").fetch_sockets()).await;
    let found = found.map_or_else(|error| error.sockets.len(), |found| found.len());
    assert!(found == 0, "a server that has left finds {found} sockets");
    counts(&fleet.servers[1], "/", 1).await;
    fleet.end(1);
    let received = until_end(&mut clients[1]).await;
    assert!(received.is_empty(), "a server that has left sends {received:?}");
    fleet.close().await;
}

pub(super) async fn farewell(fleets: &Fleets<'_>) {
    let fleet = fleets.start(3).await;
    let io = fleet.server(0).clone();
    if io.cluster().is_some_and(|cluster| !cluster.servers().is_empty()) {
        let asking = io.server_side_emit_with_ack::<u32, _>("hang", &());
        // The request is sent first.
        let closing = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            join(fleet.server(1).close(), fleet.server(2).close()).await;
        };
        let (all, ()) = prompt("a request to servers that leave", join(asking, closing)).await;
        let all = done(all, "an event between servers is emitted");
        assert!(all.answers.is_empty(), "a server that hangs has answered: {all:?}");
    } else {
        join(fleet.server(1).close(), fleet.server(2).close()).await;
    }
    counts(&fleet.servers[0], "/", 1).await;
    let found = prompt("`fetch_sockets` after all others have left", io.of("/").fetch_sockets()).await;
    done(found, "no server is missing");
    let all =
        prompt("`server_side_emit_with_ack`", io.server_side_emit_with_ack::<u32, _>("sum", &(1, 2))).await;
    let all = done(all, "an event between servers is emitted");
    assert!(all.answers.is_empty() && all.missing.is_empty(), "nobody was asked: {all:?}");
    fleet.close().await;
}
