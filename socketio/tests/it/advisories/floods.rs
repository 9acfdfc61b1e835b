//! Floods of requests, packets and frames, and clients that do not read.

use std::time::Duration;

use socketio::{Limit, ServerConfig};

use super::stage::{Stage, engine};
use crate::support::{Client, Polling, binary, eventually, payload, text};

#[tokio::test]
async fn cve_2026_48802_pongs_and_connects() {
    let stage = Stage::new().await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut client = stage.client().await;
    for _ in 0..100 {
        client.write(text("3").repeat(1000)).await;
    }
    assert_eq!(client.ask(r#"421["mark"]"#).await, "431[]");
    assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() <= tasks + 2, "one task");
    drop(client);
    let mut client = Client::open(&stage.host).await;
    client.write(text("40/nowhere,").repeat(1000)).await;
    let mut refused = 0;
    while client.next().await.is_ok_and(|message| message.is_text()) {
        refused += 1;
    }
    assert_eq!(refused, 32, "the default of `max_connect_attempts`");
    stage.goes_on().await;
}

#[tokio::test]
async fn ws_8_22_pings_of_a_client_that_does_not_read() {
    let stage = Stage::new().await;
    let mut client = stage.client().await;
    let mut ping = binary([7; 125]);
    ping[0] = 0x89;
    // The server responds to ten pings per second and ignores up to a hundred.
    client.write(ping.repeat(100)).await;
    client.write(text(r#"421["mark"]"#)).await;
    let mut pongs = 0;
    while !client.next().await.unwrap().is_text() {
        pongs += 1;
    }
    assert_eq!(pongs, 10);
    client.write(ping.repeat(101)).await;
    assert_eq!(client.ended().await.0, 1008);
    assert!(stage.host.io.limit_hits(Limit::MaxPingsPerSecond) > 90);
    stage.goes_on().await;
}

#[tokio::test]
async fn python_engineio_c8407ae_a_body_of_many_packets() {
    let stage = Stage::new().await;
    let mut client = Polling::join(&stage.host).await;
    let mut packets = vec!["3"; 4095];
    packets.push(r#"421["mark"]"#);
    client.send(payload(&packets)).await;
    assert_eq!(client.poll().await, "431[]");
    // Only the size of the body limits the number of packets. Other tasks run while the body is processed.
    assert_eq!(client.post(payload(&vec!["3"; 400_000])).await.status, 200);
    client.send(r#"422["mark"]"#).await;
    assert_eq!(client.poll().await, "432[]");
    client.send("1").await;
    drop(client);
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2020_35896_a_client_that_does_not_read() {
    let stage = Stage::new().await;
    let mut client = stage.client().await;
    client.send(format!(r#"42["flood","{}"]"#, "x".repeat(10_000))).await;
    let io = stage.host.io.clone();
    // The client is disconnected once its queue is full. This also ends the handler, whose `emit` then fails.
    eventually(|| io.socket_count("/") == 0).await;
    drop(client);
    stage.goes_on().await;
}

#[tokio::test]
async fn engineioxide_0_17_9_two_pongs_are_no_timeout() {
    let config = engine().ping_interval(Duration::from_millis(200)).ping_timeout(Duration::from_secs(5));
    let stage = Stage::with(ServerConfig::default().engine(config)).await;
    let mut client = stage.client().await;
    for _ in 0..3 {
        client.write([text("3"), text("3")].concat()).await;
        assert_eq!(client.text().await, "2");
    }
    client.send(r#"421["mark"]"#).await;
    while client.text().await != "431[]" {}
    drop(client);
    stage.goes_on().await;
}
