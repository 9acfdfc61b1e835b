//! Servers with the Admin UI, and administrators.

use serde_json::{Value, json};
use socketio::{
    Event, Namespace, Server,
    testing::{TestClient, TestServer},
};
use socketio_admin::{Admin, Mode};

/// The hash of `changeit` with the lowest cost.
pub(crate) const PASSWORD: &str = "$2a$04$8Xi9AP6MMkW8584x8GzsTOO7e4.XjeGgbdIhViAZak1H57lo4vBY2";

/// A namespace whose clients can join rooms and send events to the others.
pub(crate) fn chat(path: &str) -> Namespace {
    Namespace::new(path)
        .on("join", async |socket, room: String| socket.join(room))
        .on("leave", async |socket, room: String| socket.leave(&room))
        .fallback(async |socket, event: Event| socket.broadcast().emit(event.name, &event.args))
}

pub(crate) fn admin() -> Admin {
    Admin::basic_auth("admin", PASSWORD).unwrap()
}

pub(crate) fn server(admin: Admin) -> TestServer {
    TestServer::new(admin.attach(Server::new().namespace(chat("/"))))
}

pub(crate) fn development() -> TestServer {
    server(admin().mode(Mode::Development))
}

pub(crate) fn credentials() -> Value {
    json!({ "username": "admin", "password": "changeit" })
}

/// Logs in.
pub(crate) async fn log_in(server: &TestServer) -> TestClient {
    server.client("/admin").auth(&credentials()).connect().await.unwrap()
}

/// Logs in to a server in the development mode, and returns all sockets too.
pub(crate) async fn watch(server: &TestServer) -> (TestClient, Vec<Value>) {
    let mut administrator = log_in(server).await;
    let sockets = administrator.wait_for("all_sockets").await;
    (administrator, sockets)
}

/// Waits until the numbers of a server are right. Panics if they are not after a minute of reports of two servers.
pub(crate) async fn until_stats(administrator: &mut TestClient, is_right: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..60 {
        let stats: Value = administrator.wait_for("server_stats").await;
        if is_right(&stats) {
            return stats;
        }
    }
    panic!("the numbers stay wrong");
}
