//! Messages from one user to another. A user may have several sessions, each with a socket of its own: two tabs and a
//! phone. All of them are in the room of the user, so a message reaches every one.
//!
//! A session whose connection breaks comes back as the same socket, and hears what was said meanwhile: connection state
//! recovery, with which the client itself has nothing to do. Who stays away for longer than two minutes is a new socket,
//! and would look for old messages in the database of an application.
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000", { auth: { name: "Ann" } });
//! socket.on("users", (names) => console.log("here are", names));
//! socket.on("online", (name) => console.log(name, "has come"));
//! socket.on("offline", (name) => console.log(name, "has gone"));
//! socket.on("message", ({ from, to, text }) => console.log(`${from} to ${to}: ${text}`));
//! socket.on("connect", () => console.log(socket.recovered ? "back" : "here"));
//! const isHere = await socket.emitWithAck("message", "Bob", "hello");
//! ```

use std::{collections::BTreeMap, io, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socketio::{
    Ack, ConnectError, ConnectionStateRecovery, DisconnectReason, EmitError, Handshake, Namespace, Server,
    ServerConfig, Socket, TypedEvent,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    from: String,
    to: String,
    text: String,
}

const MESSAGE: TypedEvent<Message> = TypedEvent::new("message");

/// Who is here, each with the number of sessions. Several servers would ask each other instead, with `fetch_sockets`.
#[derive(Default)]
struct Presence(Mutex<BTreeMap<String, usize>>);

struct User {
    name: String,
    presence: Arc<Presence>,
}

/// The room of all sessions of a user. Ids of sockets are names of rooms too; no name of a user gets among them.
fn room_of(name: &str) -> String {
    format!("user:{name}")
}

/// In an application, this looks for the user behind a token or a cookie.
fn sign_in(handshake: &Handshake, presence: Arc<Presence>) -> Result<User, ConnectError> {
    #[derive(Deserialize)]
    struct Auth {
        name: String,
    }
    let Auth { name } = handshake.auth()?;
    if name.is_empty() || name.len() > 32 {
        return Err(ConnectError::new("a name has 1 to 32 bytes"));
    }
    Ok(User { name, presence })
}

/// Under the lock, so that all hear of those who come and go in the same order; emitting never waits.
async fn come(socket: Socket<User>) {
    let User { name, presence } = socket.data();
    let mut present = presence.0.lock();
    let sessions = present.entry(name.clone()).or_default();
    *sessions += 1;
    // What fails here fails because this client has gone already.
    if *sessions == 1 {
        let _ = socket.broadcast().emit("online", name);
    }
    // One that has come back is in its room, and has heard of all who came and went.
    if !socket.recovered() {
        let _ = socket.join(room_of(name));
        let names: Vec<&String> = present.keys().collect();
        let _ = socket.emit("users", &names);
    }
}

async fn go(socket: Socket<User>, _: DisconnectReason) {
    let User { name, presence } = socket.data();
    let mut present = presence.0.lock();
    if let Some(sessions) = present.get_mut(name) {
        *sessions -= 1;
        if *sessions == 0 {
            present.remove(name);
            // Not for this socket, should it come back.
            let _ = socket.broadcast().emit("offline", name);
        }
    }
}

/// To all sessions of the one, those that will be back soon included, and to the other sessions of the sender, which show
/// the conversation too. The answer is whether the one is here now.
async fn message(socket: Socket<User>, (to, text): (String, String)) -> Result<Ack<bool>, EmitError> {
    let User { name, presence } = socket.data();
    let is_here = presence.0.lock().contains_key(&to);
    let rooms = socket.to(room_of(&to)).to(room_of(name));
    rooms.emit(MESSAGE, &Message { from: name.clone(), to, text })?;
    Ok(Ack(is_here))
}

fn server() -> Server {
    let presence = Arc::new(Presence::default());
    let users = Namespace::with_auth("/", async move |handshake| sign_in(&handshake, presence))
        .on_connect(come)
        .on("message", message)
        .on_disconnect(go);
    let recovery = ConnectionStateRecovery::default();
    Server::with_config(ServerConfig::default().connection_state_recovery(recovery)).namespace(users)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    server().listen("127.0.0.1:3000").await
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use socketio::testing::{TestClient, TestServer};

    use super::*;

    /// A session of a user, and who was here when it came.
    async fn session(server: &TestServer, name: &str) -> (TestClient, Vec<String>) {
        let mut socket = server.client("/").auth(&json!({ "name": name })).connect().await.unwrap();
        let users = socket.expect("users").await;
        (socket, users)
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_reaches_all_sessions_of_both_and_nobody_else() {
        let server = TestServer::new(server());
        let (mut cid, _) = session(&server, "Cid").await;
        let (ann, _) = session(&server, "Ann").await;
        let (mut ann_too, _) = session(&server, "Ann").await;
        let (mut bob, _) = session(&server, "Bob").await;
        let (mut bob_too, _) = session(&server, "Bob").await;
        assert!(ann.emit_with_ack::<bool, _>("message", &("Bob", "hello")).await.unwrap());
        let hello = Message { from: "Ann".into(), to: "Bob".into(), text: "hello".into() };
        assert_eq!(ann_too.expect::<String>("online").await, "Bob");
        for socket in [&mut ann_too, &mut bob, &mut bob_too] {
            assert_eq!(socket.expect(MESSAGE).await, hello);
        }
        // Cid hears who comes and goes, and nothing in between.
        assert_eq!(cid.expect::<String>("online").await, "Ann");
        assert_eq!(cid.expect::<String>("online").await, "Bob");
        ann.disconnect().await;
        ann_too.disconnect().await;
        assert_eq!(cid.expect::<String>("offline").await, "Ann");
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_is_here_from_the_first_session_to_the_last() {
        let server = TestServer::new(server());
        let (mut ann, users) = session(&server, "Ann").await;
        assert_eq!(users, ["Ann"]);
        let (bob, users) = session(&server, "Bob").await;
        assert_eq!(users, ["Ann", "Bob"]);
        let (bob_too, _) = session(&server, "Bob").await;
        assert_eq!(ann.expect::<String>("online").await, "Bob");
        bob.disconnect().await;
        assert!(ann.emit_with_ack::<bool, _>("message", &("Bob", "still there?")).await.unwrap());
        bob_too.disconnect().await;
        assert_eq!(ann.expect::<String>("offline").await, "Bob");
        assert!(!ann.emit_with_ack::<bool, _>("message", &("Bob", "and now?")).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_away_hears_what_was_said_meanwhile() {
        let server = TestServer::new(server());
        let (mut ann, _) = session(&server, "Ann").await;
        let (bob, _) = session(&server, "Bob").await;
        assert_eq!(ann.expect::<String>("online").await, "Bob");
        let away = server.client("/").auth(&json!({ "name": "Bob" })).recover(bob);
        assert_eq!(ann.expect::<String>("offline").await, "Bob");
        assert!(!ann.emit_with_ack::<bool, _>("message", &("Bob", "are you there?")).await.unwrap());

        let mut bob = away.connect().await.unwrap();
        assert!(bob.recovered());
        assert_eq!(bob.expect(MESSAGE).await.text, "are you there?");
        assert_eq!(ann.expect::<String>("online").await, "Bob");
        assert!(ann.emit_with_ack::<bool, _>("message", &("Bob", "welcome back")).await.unwrap());
        assert_eq!(bob.expect(MESSAGE).await.text, "welcome back");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_name_is_refused() {
        let server = TestServer::new(server());
        for name in [String::new(), "x".repeat(33)] {
            let refused = server.client("/").auth(&json!({ "name": name })).connect().await;
            assert_eq!(refused.unwrap_err(), ConnectError::new("a name has 1 to 32 bytes"));
        }
        session(&server, &"x".repeat(32)).await;
    }
}
