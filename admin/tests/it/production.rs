//! The numbers, which are all that is shown in production.

use std::time::Duration;

use serde_json::{Value, json};
use socketio::{Server, testing::TestServer};

use crate::support::{admin, chat, log_in, server, until_stats};

#[tokio::test(start_paused = true)]
async fn an_administrator_gets_the_numbers_at_once_and_every_two_seconds() {
    let server = server(admin().server_id("one"));
    let _client = server.connect("/").await;
    let mut administrator = log_in(&server).await;
    let _: String = administrator.expect("session").await;
    let config: Value = administrator.expect("config").await;
    let actions =
        ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT", "AGGREGATED_EVENTS"];
    assert_eq!(config, json!({ "supportedFeatures": actions }));
    let stats: Value = administrator.expect("server_stats").await;
    assert_eq!(stats["serverId"], "one");
    assert_eq!((&stats["clientsCount"], &stats["pollingClientsCount"]), (&json!(2), &json!(2)));
    assert_eq!(stats["pid"], std::process::id());
    let rows = json!([{ "name": "/", "socketsCount": 1 }, { "name": "/admin", "socketsCount": 1 }]);
    assert_eq!(stats["namespaces"], rows);
    let before = tokio::time::Instant::now();
    for _ in 0..5 {
        let _: Value = administrator.expect("server_stats").await;
    }
    let seconds = before.elapsed().as_secs_f64();
    assert!((8.0..=10.1).contains(&seconds), "{seconds}");
}

/// Returns the counts of a type of event in the numbers.
fn count(stats: &Value, kind: &str) -> u64 {
    let events = stats["aggregatedEvents"].as_array().unwrap().iter();
    events.filter(|event| event["type"] == kind).map(|event| event["count"].as_u64().unwrap()).sum()
}

#[tokio::test(start_paused = true)]
async fn traffic_is_counted_while_someone_watches() {
    let server = server(admin());
    let client = server.connect("/").await;
    client.emit("before", &()).await.unwrap();
    assert_eq!(server.server().traffic().messages_received, 0);
    let mut administrator = log_in(&server).await;
    until_stats(&mut administrator, |_| true).await;
    client.emit("say", "0123456789").await.unwrap();
    let stats = until_stats(&mut administrator, |stats| count(stats, "packetsIn") > 0).await;
    // `2["say","0123456789"]` after the type of the Engine.IO packet.
    assert_eq!((count(&stats, "packetsIn"), count(&stats, "bytesIn")), (1, 21));
    client.disconnect().await;
    let stats = until_stats(&mut administrator, |stats| count(stats, "rawDisconnection") > 0).await;
    assert!(stats["aggregatedEvents"].to_string().contains(r#""subType":"transport close""#), "{stats}");
    administrator.disconnect().await;
    // An administrator at another server would be noticed within this time.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let counted = server.server().traffic().messages_received;
    let client = server.connect("/").await;
    client.emit("after", &()).await.unwrap();
    assert_eq!(server.server().traffic().messages_received, counted);
}

#[tokio::test(start_paused = true)]
async fn only_the_read_only_features_are_announced() {
    let server = server(admin().read_only(true));
    let mut administrator = log_in(&server).await;
    let config: Value = administrator.wait_for("config").await;
    assert_eq!(config, json!({ "supportedFeatures": ["AGGREGATED_EVENTS"] }));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_server() {
    let io = admin().namespace("/ops").attach(Server::new().namespace(chat("/")));
    let server = TestServer::new(io);
    let mut administrator =
        server.client("/ops").auth(&crate::support::credentials()).connect().await.unwrap();
    until_stats(&mut administrator, |_| true).await;
    server.server().close().await;
    let metrics = tokio::runtime::Handle::current().metrics();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}
