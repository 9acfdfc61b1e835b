//! A chat with rooms that sends the last messages to a new member, and an HTTP route that emits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socketio::{EventError, Namespace, Server, Socket};

/// The maximum number of messages kept per room.
const KEPT: usize = 20;

#[derive(Debug, Clone, Serialize)]
struct Message {
    text: String,
    user: String,
    /// Milliseconds since the Unix epoch.
    date: u128,
}

#[derive(Deserialize)]
struct Say {
    room: String,
    text: String,
}

#[derive(Serialize)]
struct Messages {
    messages: VecDeque<Message>,
}

type Rooms = Arc<Mutex<HashMap<String, VecDeque<Message>>>>;

async fn join(socket: Socket<Rooms>, room: String) -> Result<(), EventError> {
    socket.leave_all();
    socket.join(&room)?;
    let messages = socket.data().lock().get(&room).cloned().unwrap_or_default();
    Ok(socket.emit("messages", &Messages { messages })?)
}

async fn say(socket: Socket<Rooms>, Say { room, text }: Say) -> Result<(), EventError> {
    let date = SystemTime::UNIX_EPOCH.elapsed()?.as_millis();
    let message = Message { text, user: format!("anon-{}", socket.id()), date };
    {
        let mut rooms = socket.data().lock();
        let messages = rooms.entry(room.clone()).or_default();
        messages.truncate(KEPT - 1);
        messages.push_front(message.clone());
    }
    Ok(socket.namespace().to(room).emit("message", &message)?)
}

async fn hello(State(io): State<Server>) -> StatusCode {
    io.emit("hello", "world").map_or(StatusCode::INTERNAL_SERVER_ERROR, |()| StatusCode::OK)
}

fn server() -> Server {
    Server::new().namespace(Namespace::with_data("/", Rooms::default()).on("join", join).on("message", say))
}

pub(crate) fn app() -> Router {
    let io = server();
    Router::new()
        .route("/", get("Hello, World!"))
        .route("/hello", get(hello))
        .with_state(io.clone())
        .layer(io)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use socketio::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_gets_the_last_messages_of_its_room() {
        let server = TestServer::new(server());
        let (mut ann, mut bob) = (server.connect("/").await, server.connect("/").await);
        let () = ann.emit_with_ack("join", "tea").await.unwrap();
        assert_eq!(ann.expect::<Value>("messages").await, json!({ "messages": [] }));
        for n in 0..=KEPT {
            ann.emit("message", &json!({ "room": "tea", "text": n.to_string() })).await.unwrap();
            assert_eq!(ann.expect::<Value>("message").await["text"], n.to_string());
        }
        let () = bob.emit_with_ack("join", "tea").await.unwrap();
        let messages = bob.expect::<Value>("messages").await["messages"].clone();
        assert_eq!((messages.as_array().unwrap().len(), &messages[0]["text"]), (KEPT, &json!("20")));

        // After joining another room, messages of the first room no longer arrive.
        let () = bob.emit_with_ack("join", "coffee").await.unwrap();
        assert_eq!(bob.expect::<Value>("messages").await, json!({ "messages": [] }));
        ann.emit("message", &json!({ "room": "tea", "text": "?" })).await.unwrap();
        ann.expect::<Value>("message").await;
        server.server().emit("hello", "world").unwrap();
        assert_eq!(bob.expect::<String>("hello").await, "world");
    }
}
