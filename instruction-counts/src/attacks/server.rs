//! The server that receives the floods. It has a handler for every kind of argument.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use socketio::{
    Ack, Args, ChannelListener, EngineConfig, MsgpackParser, Namespace, PerMessageDeflate, Server,
    ServerConfig, Socket,
};
use tokio::sync::mpsc;

use crate::hot_paths::Door;

/// The optional features of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// Only the defaults.
    Default,
    /// Clients of protocol 3.
    Old,
    /// Compression of messages.
    Deflate,
    /// Packets in MessagePack.
    Msgpack,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
struct Note {
    id: u64,
    from: String,
    text: Option<String>,
}

/// Starts the server without rate limits, which would stop the floods. The server's task ends with the
/// runtime.
pub(super) fn serve(profile: Profile) -> Door {
    let engine = EngineConfig::default()
        .ping_interval(Duration::from_hours(24))
        .max_handshakes_per_second(u32::MAX)
        .max_pings_per_second(u32::MAX / 10)
        // The number is low so that the flood also evicts sessions.
        .max_pending_sessions(16);
    let engine = match profile {
        Profile::Old => engine.allow_eio3(true),
        Profile::Deflate => engine.per_message_deflate(PerMessageDeflate::default()),
        Profile::Default | Profile::Msgpack => engine,
    };
    let mut config = ServerConfig::default().engine(engine);
    if profile == Profile::Msgpack {
        config = config.parser(MsgpackParser::default());
    }
    let server = Server::with_config(config)
        .namespace(namespace())
        .namespace(Namespace::new("/other"))
        .dynamic(Namespace::new("/dynamic-{n}"));
    let (door, connections) = mpsc::channel(1);
    tokio::spawn(server.serve(ChannelListener::new(connections)).into_future());
    door
}

/// Each event is named after the type of its handler's argument.
fn namespace() -> Namespace {
    Namespace::new("/")
        .on("echo", async |socket: Socket, args: Args| socket.emit("echo", &args))
        .on("nothing", async |_, ()| ())
        .on("later", async |_, ()| tokio::task::yield_now().await)
        .on("ignored", async |_, _: IgnoredAny| ())
        .on("args", async |_, _: Args| ())
        .on("args-each", async |_, args: Args| {
            (0..args.len()).filter_map(|at| args.get::<IgnoredAny>(at).ok()).for_each(drop);
        })
        .on("args-values", async |_, args: Args| drop(args.values::<Value>()))
        .on("value", async |_, _: Value| ())
        .on("values", async |_, _: Vec<Value>| ())
        .on("map", async |_, _: HashMap<String, Value>| ())
        .on("text", async |_, _: String| ())
        .on("number", async |_, _: f64| ())
        .on("numbers", async |_, _: Vec<f64>| ())
        .on("note", async |_, note: Note| Ack(note))
        .on("tuple", async |_, _: (String, Option<u8>, Vec<bool>)| ())
        .on("bytes", async |_, _: Bytes| ())
        .on("list", async |_, _: Vec<Bytes>| ())
        .on("join", async |socket: Socket, room: String| socket.join(room))
        .on("leave", async |socket: Socket, room: String| socket.leave(&room))
}
