//! The server, which is the same in each version but for the id of its process.

use std::{env, error::Error, process, time::Duration};

use socketio::{Ack, ConnectionStateRecovery, EngineConfig, Namespace, Server, ServerConfig};
use socketio_redis::Streams;

/// The clients of a version that ends connect to the next one over this time, instead of all at once.
const SPREAD: Duration = Duration::from_secs(1);

pub(crate) fn server() -> Result<Server, Box<dyn Error>> {
    let redis = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let config = ServerConfig::default()
        .engine(EngineConfig::default().shutdown_spread(SPREAD))
        .connection_state_recovery(ConnectionStateRecovery::default());
    Ok(Server::with_cluster(config, Streams::new(&redis)?).namespace(namespace()))
}

fn namespace() -> Namespace {
    Namespace::new("/")
        .on("version", async |_, ()| Ack(process::id()))
        .on("join", async |socket, room: String| socket.join(room))
        .on("say", async |socket, (room, text): (String, String)| {
            socket.namespace().to(room).emit("said", &text)
        })
}
