//! The server, which accepts connections from memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use socketio::{
    Ack, Args, ChannelListener, EngineConfig, Event, Namespace, Server, ServerConfig, Socket,
    middleware::{self, Deduplicate, RateLimit},
};
use tokio::sync::mpsc;

use super::client::Door;

/// The room that receives the broadcasts.
pub(super) const ROOM: &str = "room";
/// The number of events that the server emits in response to `burst`.
pub(super) const BURST: usize = 64;
/// An object of 100 bytes.
pub(super) const NOTE: &str =
    r#"{"id":123456,"from":"Ann","at":1700000000.5,"read":false,"text":"hello to all who are in this room"}"#;

/// The type of [`NOTE`].
#[derive(Serialize, Deserialize)]
struct Note {
    id: u64,
    from: String,
    at: f64,
    read: bool,
    text: String,
}

/// Starts the server. Its task ends with the runtime.
pub(super) fn serve() -> Door {
    // Heartbeats would disturb the measurement. Clients may connect and disconnect at full speed.
    let engine =
        EngineConfig::default().ping_interval(Duration::from_hours(24)).max_handshakes_per_second(u32::MAX);
    let server = Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace());
    let server = wrapped().into_iter().fold(server, Server::namespace);
    let (door, connections) = mpsc::channel(1);
    tokio::spawn(server.serve(ChannelListener::new(connections)).into_future());
    door
}

fn namespace() -> Namespace {
    let note: Arc<Note> = Arc::new(serde_json::from_str(NOTE).expect("the note is of its type"));
    Namespace::new("/")
        .on("echo", async |socket, args: Args| socket.emit("echo", &args))
        .on("typed", async |_, note: Note| Ack(note))
        .on("publish", async |socket, args: Args| socket.namespace().to(ROOM).emit("news", &args))
        .on("join", async |socket, room: String| socket.join(room))
        .on("leave", async |socket, room: String| socket.leave(&room))
        .on("ignore", async |_, _: IgnoredAny| ())
        .on("burst", async move |socket, ()| {
            for _ in 0..BURST {
                socket.emit("news", &*note)?;
            }
            Ok::<_, socketio::EmitError>(())
        })
}

/// Returns a namespace for each middleware, named after the scenario, with the handler of `typed`.
fn wrapped() -> [Namespace; 4] {
    let second = Duration::from_secs(1);
    let keys = AtomicU64::new(0);
    let next_key = move |_: &Socket, _: &Event| Some(keys.fetch_add(1, Ordering::Relaxed));
    let namespaces = [
        Namespace::new("/wrap").wrap(async |_, event, next| next.run(event).await),
        Namespace::new("/timeout").wrap(middleware::timeout(second)),
        Namespace::new("/rate-limit").wrap(RateLimit::new(1_000_000_000, second).per_socket()),
        Namespace::new("/deduplicate").wrap(Deduplicate::new().by_key(next_key)),
    ];
    namespaces.map(|namespace| namespace.on("typed", async |_, note: Note| Ack(note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_is_as_long_as_it_is_said_to_be() {
        assert_eq!(NOTE.len(), 100);
        let note: Note = serde_json::from_str(NOTE).unwrap();
        assert_eq!(serde_json::to_string(&note).unwrap(), NOTE);
    }
}
