//! The server of `promises/`. `promises/README.md` documents its events, which servers of other frameworks
//! implement as well.
//!
//! Listens on a free port of 127.0.0.1 and prints it. The log is written to the standard error.
#![expect(clippy::print_stdout, reason = "the line tells who started the server where it listens")]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use socketio::{
    Ack, AckError, BroadcastOperator, ConnectError, EmitError, FetchError, Handshake, JoinError, Namespace,
    Server, Socket,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing_subscriber::filter::LevelFilter;

/// The state that all sockets share.
struct App {
    server: Server,
    /// All handlers and hooks wait at the gate until it is opened. It is never closed again.
    gate: Semaphore,
    notes: Mutex<Vec<u32>>,
    outcomes: Mutex<Vec<String>>,
    running: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
}

impl App {
    fn new(server: Server) -> Arc<Self> {
        Arc::new(Self {
            server,
            gate: Semaphore::new(0),
            notes: Mutex::default(),
            outcomes: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
        })
    }

    /// Waits until the gate is open.
    async fn opened(&self) {
        // The gate opens when the semaphore is closed: no permit is ever available.
        let _ = self.gate.acquire().await;
    }

    fn concluded(&self, outcome: impl Into<String>) {
        self.outcomes.lock().push(outcome.into());
    }
}

type Client = Socket<Arc<App>>;

/// A payload whose deserialization panics.
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a payload of the user's own type")
    }
}

#[derive(Deserialize)]
struct Second {
    b: Bytes,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).with_writer(io::stderr).init();
    let server = Server::new();
    let app = App::new(server.clone());
    let server = server
        .namespace(commands(in_namespace("/", &app)))
        .namespace(in_namespace("/quick", &app).on("hello", hello))
        .namespace(in_namespace("/slow-connect", &app).on_connect(wait).on("hello", hello))
        .namespace(slow_admission(&app))
        .namespace(panicking_admission())
        .namespace(
            in_namespace("/panicking-farewell", &app)
                .on_connect(enter_hall)
                .on_disconnect(async |_, _| panic!("the farewell")),
        )
        .namespace(
            in_namespace("/slow-farewell", &app)
                .on("hello", hello)
                .on_disconnect(async |socket, _| wait(socket).await),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?.port());
    server.serve(listener).await
}

fn in_namespace(path: &str, app: &Arc<App>) -> Namespace<Arc<App>> {
    let app = Arc::clone(app);
    Namespace::with_auth(path, async move |_: Handshake| Ok::<_, ConnectError>(app))
}

fn slow_admission(app: &Arc<App>) -> Namespace<Arc<App>> {
    let app = Arc::clone(app);
    let admit = async move |_: Handshake| {
        app.opened().await;
        Ok::<_, ConnectError>(app)
    };
    Namespace::with_auth("/slow-admission", admit).on("hello", hello)
}

fn panicking_admission() -> Namespace<()> {
    Namespace::with_auth("/panicking-admission", async |_: Handshake| -> Result<(), ConnectError> {
        panic!("the admission")
    })
}

async fn wait(socket: Client) {
    socket.data().opened().await;
}

async fn enter_hall(socket: Client) {
    let _ = socket.join("hall");
}

async fn hello(_: Client, (): ()) -> Ack<&'static str> {
    Ack("hello")
}

fn commands(namespace: Namespace<Arc<App>>) -> Namespace<Arc<App>> {
    namespace
        .on("echo", async |_, value: Value| Ack(value))
        .on("open", async |socket, ()| socket.data().gate.close())
        .on("note", async |socket, n: u32| socket.data().notes.lock().push(n))
        .on("notes", async |socket, ()| Ack(socket.data().notes.lock().clone()))
        .on("outcomes", async |socket, ()| Ack(socket.data().outcomes.lock().clone()))
        .on("work", work)
        .on("load", async |socket, ()| load(socket.data()))
        .on("ask", ask)
        .on("panic", async |_, ()| -> () { panic!("a handler") })
        .on("double", async |_, n: u32| Ack(u64::from(n) * 2))
        .on("unreadable", async |_, _: Unreadable| ())
        .on("second", async |_, second: Second| Ack(second.b))
        .on("join", async |socket, room: String| socket.join(room))
        .on("join-late", join_late)
        .on("members", members)
        .on("cast", cast)
        .on("storm", storm)
}

async fn work(socket: Client, (_, _padding): (u32, String)) {
    let app = socket.data();
    app.most.fetch_max(app.running.fetch_add(1, SeqCst) + 1, SeqCst);
    app.opened().await;
    app.running.fetch_sub(1, SeqCst);
    app.done.fetch_add(1, SeqCst);
}

fn load(app: &App) -> Ack<Value> {
    Ack(json!({ "most": app.most.load(SeqCst), "done": app.done.load(SeqCst) }))
}

async fn ask(socket: Client, (): ()) {
    let answer = socket.emit_with_ack::<String, _>("question", &()).timeout(Duration::from_mins(1)).await;
    socket.data().concluded(match answer {
        Ok(answer) => answer,
        Err(AckError::Disconnected) => "disconnected".to_owned(),
        Err(error) => error.to_string(),
    });
}

/// Continues after its client has left.
async fn join_late(socket: Client, room: String) -> Result<(), JoinError> {
    wait(socket.clone()).await;
    let joined = socket.join(room);
    let _ = socket.emit("late", &());
    socket.data().concluded("late");
    joined
}

/// `namespace, room`: returns the number of sockets in the room.
async fn members(socket: Client, (namespace, room): (String, String)) -> Result<Ack<usize>, FetchError> {
    Ok(Ack(socket.data().server.of(&namespace).to(room).fetch_sockets().await?.len()))
}

async fn cast(socket: Client, rooms: Vec<String>) -> Result<(), EmitError> {
    rooms.into_iter().fold(socket.namespace(), BroadcastOperator::to).emit("cast", &())
}

/// `tasks, events`: starts tasks that each broadcast this number of events.
async fn storm(socket: Client, (tasks, events): (u32, u32)) {
    for task in 0..tasks {
        let socket = socket.clone();
        tokio::spawn(async move {
            for event in 0..events {
                let _ = socket.namespace().to("storm").emit("storm", &format!("{task}:{event}"));
            }
        });
    }
}
