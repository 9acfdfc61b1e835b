//! Checks of connection state recovery, if the broker has an event log.

use std::time::Duration;

use engineio::EngineConfig;
use serde_json::json;

use super::fleet::{Fleets, config, done, eventually, join, until_end};
use crate::config::ConnectionStateRecovery;

pub(super) async fn recovery(fleets: &Fleets<'_>) {
    // A server notices soon that a client is gone.
    let ping = Duration::from_millis(300);
    let engine = EngineConfig::default().ping_interval(ping).ping_timeout(ping);
    let config = config().engine(engine).connection_state_recovery(ConnectionStateRecovery::default());
    let fleet = fleets.start_with(2, &config).await;
    let has_log = fleet.server(0).cluster().is_some_and(|cluster| cluster.backend().recovery().is_some());
    if !has_log {
        fleet.close().await;
        return;
    }
    let client = fleet.servers[0].client("/").auth(&json!({ "name": "ann" }));
    let mut client = done(client.connect().await, "a client connects");
    join(&client, "all").await;
    done(fleet.server(1).emit("first", &0), "an event is emitted");
    let _: u32 = client.expect("first").await;
    let id = client.id().to_owned();
    let returning = fleet.servers[1].client("/").auth(&json!({ "name": "ann" })).recover(client);
    eventually("the server notices that the client is gone", async || fleet.server(0).socket_count("/") == 0)
        .await;
    for number in 0..20 {
        let sender = fleet.server(number % 2);
        let emitted =
            if number < 10 { sender.to("all").emit("n", &number) } else { sender.emit("n", &number) };
        done(emitted, "an event is emitted");
        done(sender.to("nobody").emit("n", &number), "an event is emitted");
    }
    // Both servers have delivered all events.
    let mut witness = fleet.servers[1].connect("/").await;
    fleet.end(0);
    until_end(&mut witness).await;
    fleet.end(1);
    until_end(&mut witness).await;
    let mut client = done(returning.connect().await, "the client returns");
    assert!(client.recovered() && client.id() == id, "the socket is not recovered at another server");
    let mut received = Vec::new();
    for _ in 0..20 {
        let event = client.wait_for::<u32>("n").await;
        received.push(event);
    }
    // The servers have emitted concurrently, but each in order.
    let of = |server: u32| received.iter().filter(move |number| **number % 2 == server).copied();
    let is_right = of(0).eq((0..20).step_by(2)) && of(1).eq((1..20).step_by(2));
    assert!(is_right, "the missed events arrive as {received:?}");
    done(fleet.server(0).to("all").emit("last", &()), "an event is emitted");
    client.wait_for::<()>("last").await;
    fleet.close().await;
}
