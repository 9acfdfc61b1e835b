//! Who may log in.

use std::{future::ready, time::Duration};

use serde_json::{Value, json};
use socketio::{BoxFuture, ConnectError, testing::TestServer};
use socketio_admin::{Admin, MemoryStore, SessionStore, StoreError};

use crate::support::{PASSWORD, admin, credentials, server};

async fn refused(server: &TestServer, auth: &Value) -> ConnectError {
    server.client("/admin").auth(auth).connect().await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn the_right_name_and_password_are_let_in() {
    let server = server(admin());
    for auth in [
        json!({ "username": "admin", "password": "changed" }),
        json!({ "username": "root", "password": "changeit" }),
        json!({ "username": "admin", "password": PASSWORD }),
        json!({ "username": "admin" }),
        json!({ "username": ["admin"], "password": { "$ne": "" } }),
        json!({ "username": "admin", "password": "changeit".repeat(1000) }),
        json!({ "sessionId": "" }),
        json!({ "sessionId": null }),
        json!({ "sessionId": "x".repeat(300) }),
        json!({}),
    ] {
        assert_eq!(refused(&server, &auth).await, ConnectError::new("invalid credentials"), "{auth}");
    }
    let mut administrator = server.client("/admin").auth(&credentials()).connect().await.unwrap();
    assert_eq!(administrator.expect::<String>("session").await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_session_replaces_the_password_until_it_expires() {
    let server = server(admin().session_store(MemoryStore::new(10, Duration::from_mins(1))));
    let mut first = server.client("/admin").auth(&credentials()).connect().await.unwrap();
    let session: String = first.expect("session").await;
    let auth = json!({ "sessionId": session });
    let mut second = server.client("/admin").auth(&auth).connect().await.unwrap();
    // No other session is begun.
    let _: Value = second.expect("config").await;
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(refused(&server, &auth).await.message(), "invalid credentials");
}

#[tokio::test(start_paused = true)]
async fn no_authentication_lets_everyone_in() {
    let server = server(Admin::without_authentication());
    let auth = json!({ "username": "", "password": "" });
    let mut administrator = server.client("/admin").auth(&auth).connect().await.unwrap();
    let _: Value = administrator.expect("config").await;
}

#[test]
fn a_password_in_plain_text_is_refused() {
    for hash in ["changeit", "", "$2b$10$short", "$1$abc$abcdefghijklmnopqrstuv"] {
        assert!(Admin::basic_auth("admin", hash).is_err(), "{hash}");
    }
    for prefix in ["$2a$", "$2b$", "$2x$", "$2y$"] {
        assert!(Admin::basic_auth("admin", PASSWORD.replace("$2a$", prefix)).is_ok(), "{prefix}");
    }
}

struct Broken;

impl SessionStore for Broken {
    fn save(&self, _: String) -> BoxFuture<Result<(), StoreError>> {
        Box::pin(ready(Err("no space left".into())))
    }

    fn contains(&self, _: String) -> BoxFuture<Result<bool, StoreError>> {
        Box::pin(ready(Err("connection refused".into())))
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_in_while_the_store_fails() {
    let server = server(admin().session_store(Broken));
    for auth in [credentials(), json!({ "sessionId": "a" })] {
        assert_eq!(refused(&server, &auth).await.message(), "internal error");
    }
    // The store is not asked for a longer session.
    for (len, message) in [(256, "internal error"), (257, "invalid credentials")] {
        assert_eq!(refused(&server, &json!({ "sessionId": "a".repeat(len) })).await.message(), message);
    }
}
