//! Messages between users. A user may have several sessions, for example two tabs and a phone, each with its
//! own socket. All sessions of a user are in the user's room, so a message reaches all of them.
//!
//! Connection state recovery restores a session after its connection is lost, with the same socket id and the
//! missed messages; the page needs no code for it. A client that is away for longer than two minutes gets a
//! new socket. A real application would then load old messages from its database.
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

/// The online users and the number of sessions of each. Several servers would use `fetch_sockets` instead.
#[derive(Default)]
struct Presence(Mutex<BTreeMap<String, usize>>);

struct User {
    name: String,
    presence: Arc<Presence>,
}

/// Returns the room of all sessions of a user. The prefix keeps it distinct from socket ids, which are names
/// of rooms as well.
fn room_of(name: &str) -> String {
    format!("user:{name}")
}

/// Accepts any name. A real application would look up the user by a token or cookie.
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

/// Emits while holding the lock, so that all clients receive `online` and `offline` in the same order.
/// Emitting never blocks.
async fn come(socket: Socket<User>) {
    let User { name, presence } = socket.data();
    let mut present = presence.0.lock();
    let sessions = present.entry(name.clone()).or_default();
    *sessions += 1;
    // Errors are ignored, because they mean that this client has already disconnected.
    if *sessions == 1 {
        let _ = socket.broadcast().emit("online", name);
    }
    // A recovered socket is already in its room and receives the `online` and `offline` events it missed.
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
            // A broadcast excludes this socket, even if it recovers its session later.
            let _ = socket.broadcast().emit("offline", name);
        }
    }
}

/// Sends a message to all sessions of the recipient, including those that may still recover, and to the other
/// sessions of the sender. The acknowledgement tells whether the recipient is online.
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

    /// Connects a session of a user, and returns it with the users that are online.
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
        // Cid receives `online` and `offline`, but no messages of other users.
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
