//! The server of `official/flow-control*.test.mjs`. `promises/node/flow-control.mjs` is the same server with
//! socket.io.
//!
//! It listens on free ports of 127.0.0.1, prints the name and the address of each profile on a line, then
//! `ready`. The log is written to the standard error.
//!
//! | profile | configuration |
//! |---|---|
//! | `default` | all defaults |
//! | `heartbeat` | `ping_interval` 300 ms, `ping_timeout` 500 ms |
//! | `fifth` | `ping_interval` 5 s, `ping_timeout` 4 s: a fifth of the defaults |
//! | `msgpack` | the msgpack parser |
//! | `recovery` | connection state recovery |
//!
//! The namespaces `/` and `/other` have these events:
//!
//! | event | arguments | does |
//! |---|---|---|
//! | `echo` | any... | ack(any...) |
//! | `burst` | n | emits `burst` 0 .. n-1 in a loop |
//! | `burst-bin` | n | emits `burst` i, 4 bytes of i in big-endian |
//! | `flood` | n, size | emits `flood` i, text of that size, until an emit fails; ack(`{sent, error}`) |
//! | `big` | n | ack(text of n bytes) |
//! | `slow` | ms, padding | ack() after that time |
//! | `hang` | ms, padding | emits `began`, and returns after that time |
//! | `ask` | any... | emits `question` any... with an acknowledgement; ack(the client's acknowledgement) |
//! | `ask-many` | n | emits `question` 0 .. n-1, then waits for the acknowledgements; ack(list of them) |
//! | `join` | room | joins; ack() |
//! | `count` | room | ack(number of sockets in the room) |
//! | `cast` | room, any... | emits `cast` any... to the room, including the sender |
//! | `note`, `notes` | n, none | appends n to a list of the socket; ack(the list) |
//! | `reasons` | key | ack(list of reasons why sockets with this `key` in their auth were disconnected) |
#![expect(clippy::print_stdout, reason = "the lines tell who started the server where it listens")]

use std::{collections::HashMap, error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use socketio::{
    Ack, Args, ConnectError, ConnectionStateRecovery, DisconnectReason, EmitError, EngineConfig, EventError,
    FetchError, Handshake, MsgpackParser, Namespace, Server, ServerConfig, Socket,
};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

/// The largest text that a client may request.
const MAX_ANSWER: usize = 8 << 20;

/// The disconnect reasons of the sockets with a key.
type Reasons = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// The data of one socket.
struct State {
    reasons: Reasons,
    /// The numbers of `note` events, in the order in which their handlers ran.
    notes: Mutex<Vec<u32>>,
}

type Client = Socket<State>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_ansi(false).with_writer(io::stderr).init();
    let profiles = [
        ("default", ServerConfig::default()),
        ("heartbeat", heartbeat(300, 500)),
        ("fifth", heartbeat(5_000, 4_000)),
        ("msgpack", ServerConfig::default().parser(MsgpackParser::default())),
        ("recovery", ServerConfig::default().connection_state_recovery(ConnectionStateRecovery::default())),
    ];
    let mut servers = JoinSet::new();
    for (name, config) in profiles {
        let reasons = Reasons::default();
        let server = Server::with_config(config)
            .namespace(commands("/", &reasons))
            .namespace(commands("/other", &reasons));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{name} http://{}", listener.local_addr()?);
        servers.spawn(server.serve(listener).into_future());
    }
    println!("ready");
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Returns a configuration with this `ping_interval` and `ping_timeout`, in milliseconds.
fn heartbeat(interval: u64, timeout: u64) -> ServerConfig {
    let engine = EngineConfig::default()
        .ping_interval(Duration::from_millis(interval))
        .ping_timeout(Duration::from_millis(timeout));
    ServerConfig::default().engine(engine)
}

fn commands(path: &str, reasons: &Reasons) -> Namespace<State> {
    let reasons = Arc::clone(reasons);
    Namespace::with_auth(path, async move |_: Handshake| {
        Ok::<_, ConnectError>(State { reasons, notes: Mutex::default() })
    })
    .on_disconnect(keep)
    .on("echo", async |_, args: Args| Ack(args))
    .on("burst", async |socket, n: u32| (0..n).try_for_each(|i| socket.emit("burst", &i)))
    .on("burst-bin", async |socket, n: u32| (0..n).try_for_each(|i| emit_numbered(&socket, i)))
    .on("flood", flood)
    .on("big", async |_, n: usize| Ack("x".repeat(n.min(MAX_ANSWER))))
    .on("slow", slow)
    .on("hang", hang)
    .on("ask", ask)
    .on("ask-many", ask_many)
    .on("join", async |socket, room: String| socket.join(room))
    .on("count", count)
    .on("cast", cast)
    .on("note", async |socket, n: u32| socket.data().notes.lock().push(n))
    .on("notes", async |socket, ()| Ack(socket.data().notes.lock().clone()))
    .on("reasons", async |socket, key: String| Ack(reasons_under(&socket, &key)))
}

async fn keep(socket: Client, reason: DisconnectReason) {
    #[derive(Deserialize)]
    struct Auth {
        key: String,
    }
    if let Ok(Auth { key }) = socket.handshake().auth() {
        socket.data().reasons.lock().entry(key).or_default().push(format!("{reason:?}"));
    }
}

fn reasons_under(socket: &Client, key: &str) -> Vec<String> {
    socket.data().reasons.lock().get(key).cloned().unwrap_or_default()
}

fn emit_numbered(socket: &Client, i: u32) -> Result<(), EmitError> {
    socket.emit("burst", &(i, Bytes::copy_from_slice(&i.to_be_bytes())))
}

async fn flood(socket: Client, (n, size): (u32, usize)) -> Ack<Value> {
    let text = "x".repeat(size.min(MAX_ANSWER));
    for i in 0..n {
        if let Err(error) = socket.emit("flood", &(i, &text)) {
            return Ack(json!({ "sent": i, "error": error.to_string() }));
        }
    }
    Ack(json!({ "sent": n }))
}

async fn slow(_: Client, (ms, _): (u64, String)) -> Ack<()> {
    sleep(Duration::from_millis(ms)).await;
    Ack(())
}

async fn hang(socket: Client, (ms, _): (u64, String)) -> Result<(), EmitError> {
    socket.emit("began", &())?;
    sleep(Duration::from_millis(ms)).await;
    Ok(())
}

async fn ask(socket: Client, args: Args) -> Result<Ack<Args>, EventError> {
    Ok(Ack(socket.emit_with_ack("question", &args).await?))
}

async fn ask_many(socket: Client, n: u32) -> Result<Ack<Vec<u32>>, EventError> {
    let asked: Vec<_> = (0..n).map(|i| socket.emit_with_ack::<u32, _>("question", &i)).collect();
    let mut answers = Vec::new();
    for question in asked {
        answers.push(question.await?);
    }
    Ok(Ack(answers))
}

async fn count(socket: Client, room: String) -> Result<Ack<usize>, FetchError> {
    Ok(Ack(socket.namespace().to(room).fetch_sockets().await?.len()))
}

async fn cast(socket: Client, args: Args) -> Result<(), EventError> {
    Ok(socket.namespace().to(args.get::<String>(0)?).emit("cast", &args.skip(1))?)
}
