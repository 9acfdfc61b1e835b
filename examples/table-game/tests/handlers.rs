//! Tests the handlers without a network and with a paused clock.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use socketio::testing::TestServer;
use table_game::{app, give_turns};
use tower_sessions::{MemoryStore, Session};

fn server() -> TestServer {
    TestServer::new(app(PrometheusBuilder::new().build_recorder().handle()).1)
}

/// Creates a session like the one that the layer creates from a cookie.
async fn session(name: &str) -> Session {
    let session = Session::new(None, Arc::new(MemoryStore::default()), None);
    session.insert("name", name).await.unwrap();
    session
}

#[tokio::test(start_paused = true)]
async fn the_lobby_shows_who_is_here() {
    let server = server();
    let mut ann = server.client("/").extension(session("Ann").await).connect().await.unwrap();
    assert_eq!(ann.expect::<Value>("present").await, json!(["Ann"]));
    let bob = server.client("/").extension(session("Bob").await).connect().await.unwrap();
    assert_eq!(ann.expect::<Value>("present").await, json!(["Ann", "Bob"]));
    bob.disconnect().await;
    assert_eq!(ann.wait_for::<Value>("present").await, json!(["Ann"]));
    assert_eq!(server.client("/").connect().await.unwrap_err().message(), "no session");
}

#[tokio::test(start_paused = true)]
async fn nobody_plays_without_a_token() {
    let server = server();
    tokio::spawn(give_turns(server.server().clone()));
    let refused = server.client("/game").auth(&json!({ "token": "made up" })).connect().await;
    assert_eq!(refused.unwrap_err().message(), "unknown token");
}
