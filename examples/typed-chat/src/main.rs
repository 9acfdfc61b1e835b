//! A chat whose TypeScript frontend is type-checked against the events of the server.
//!
//! Build the frontend in this folder with `npm ci && npm run build`, then run `cargo run -p typed-chat`. The
//! test below writes `frontend/events.ts`. Afterwards, `npm run check` reports where the frontend does not
//! match the server.

use std::io;

use axum::{Router, http::header::CONTENT_TYPE, response::Html, routing::get};
use serde::{Deserialize, Serialize};
use socketio::{
    Ack, ConnectError, EmitError, EventError, Handshake, Namespace, Server, ServerConfig, Socket, TypedEvent,
};
use tokio::{fs, net::TcpListener};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

// Events sent by the frontend.
const SAY: TypedEvent<String> = TypedEvent::new("say");
const TYPING: TypedEvent<()> = TypedEvent::new("typing");
// Events received by the frontend.
const SAID: TypedEvent<Message> = TypedEvent::new("said");
const IS_TYPING: TypedEvent<String> = TypedEvent::new("is-typing");

/// A chat message.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
struct Message {
    from: String,
    text: String,
}

#[derive(Deserialize)]
struct Person {
    name: String,
}

async fn sign_in(handshake: Handshake) -> Result<Person, ConnectError> {
    handshake.auth()
}

/// Broadcasts a message, and acknowledges it with the length of the text.
async fn say(socket: Socket<Person>, text: String) -> Result<Ack<usize>, EventError> {
    if text.is_empty() {
        return Err(EventError::public("Say something."));
    }
    let length = text.chars().count();
    socket.namespace().emit(SAID, &Message { from: socket.data().name.clone(), text })?;
    Ok(Ack(length))
}

async fn typing(socket: Socket<Person>, (): ()) -> Result<(), EmitError> {
    socket.broadcast().volatile().emit(IS_TYPING, &socket.data().name)
}

fn chat() -> Namespace<Person> {
    Namespace::with_auth("/", sign_in).on(SAY, say).on(TYPING, typing)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address is what the program is started for")]
async fn main() -> io::Result<()> {
    let script = fs::read_to_string(format!("{FOLDER}/build/chat.js")).await;
    let script =
        script.map_err(|error| io::Error::other(format!("run `npm ci && npm run build` first: {error}")))?;
    let client = ServerConfig::default().serve_client(format!("{FOLDER}/node_modules/socket.io-client/dist"));
    let app = Router::new()
        .route("/", get(Html(include_str!("../frontend/index.html"))))
        .route("/chat.js", get(([(CONTENT_TYPE, "text/javascript; charset=utf-8")], script)))
        .fallback_service(Server::with_config(client).namespace(chat()));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("typed-chat: http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

/// Generates `frontend/events.ts`, and fails if the file has changed. Commit the file together with the
/// server.
#[test]
fn the_frontend_knows_the_events_of_the_server() -> io::Result<()> {
    let contract = socketio::typescript::Contract::new()
        .listens(SAY, say)
        .listens(TYPING, typing)
        .emits(SAID)
        .emits(IS_TYPING)
        .covers(&chat());
    assert!(
        !contract.write_to(format!("{FOLDER}/frontend/events.ts"))?,
        "`frontend/events.ts` was out of date"
    );
    Ok(())
}
