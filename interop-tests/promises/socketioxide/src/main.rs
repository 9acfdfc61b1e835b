//! The server of `promises/`, written with socketioxide as in its documentation. `../README.md` documents its
//! events.
//!
//! The connect handler registers handlers first, unless the test is about a hook that cannot do so. The
//! buffers are large enough for all events, and everything that is traced at the level `INFO` or above goes
//! to the standard error.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use socketioxide::{
    AckError, SocketError, SocketIo,
    extract::{AckSender, Data, SocketRef, State},
    handler::ConnectHandler,
};
use tokio::{net::TcpListener, sync::Semaphore};

/// The state that all sockets share.
struct Shared {
    /// All handlers and hooks wait at the gate until it is opened. It is never closed again.
    gate: Semaphore,
    notes: Mutex<Vec<u32>>,
    outcomes: Mutex<Vec<String>>,
    running: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
}

type App = Arc<Shared>;

impl Shared {
    /// Waits until the gate is open.
    async fn opened(&self) {
        let _ = self.gate.acquire().await;
    }

    fn concluded(&self, outcome: impl Into<String>) {
        self.outcomes.lock().unwrap().push(outcome.into());
    }
}

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
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let app: App = Arc::new(Shared {
        gate: Semaphore::new(0),
        notes: Mutex::default(),
        outcomes: Mutex::default(),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
    });
    let (layer, io) = SocketIo::builder().max_buffer_size(1 << 16).with_state(app).build_layer();
    io.ns("/", commands);
    io.ns("/quick", async |socket: SocketRef| socket.on("hello", hello));
    io.ns("/slow-connect", async |socket: SocketRef, State(app): State<App>| {
        // Represents data that the hook loads before it registers its handlers.
        app.opened().await;
        socket.on("hello", hello);
    });
    let on_connect = async |socket: SocketRef| socket.on("hello", hello);
    io.ns(
        "/slow-admission",
        on_connect.with(async |State(app): State<App>| {
            app.opened().await;
            Ok::<_, AckError>(())
        }),
    );
    io.ns("/panicking-admission", (async || ()).with(panicking_admission));
    io.ns("/panicking-farewell", async |socket: SocketRef| {
        socket.on_disconnect(async || panic!("the farewell"));
        socket.join("hall");
    });
    io.ns("/slow-farewell", async |socket: SocketRef| {
        socket.on("hello", hello);
        socket.on_disconnect(async |State(app): State<App>| app.opened().await);
    });

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?.port());
    axum::serve(listener, axum::Router::new().layer(layer)).await
}

async fn panicking_admission() -> Result<(), AckError> {
    panic!("the admission")
}

async fn hello(ack: AckSender) {
    ack.send("hello").ok();
}

async fn commands(socket: SocketRef) {
    socket.on("echo", async |Data::<Value>(value), ack: AckSender| {
        ack.send(&value).ok();
    });
    socket.on("open", async |State(app): State<App>, ack: AckSender| {
        app.gate.close();
        ack.send(&()).ok();
    });
    socket.on("note", async |State(app): State<App>, Data::<u32>(n)| app.notes.lock().unwrap().push(n));
    socket.on("notes", async |State(app): State<App>, ack: AckSender| {
        ack.send(&*app.notes.lock().unwrap()).ok();
    });
    socket.on("outcomes", async |State(app): State<App>, ack: AckSender| {
        ack.send(&*app.outcomes.lock().unwrap()).ok();
    });
    socket.on("work", work);
    socket.on("load", load);
    socket.on("ask", ask);
    socket.on("panic", async || panic!("a handler"));
    socket.on("double", async |Data::<u32>(n), ack: AckSender| {
        ack.send(&(u64::from(n) * 2)).ok();
    });
    socket.on("unreadable", async |Data::<Unreadable>(_), ack: AckSender| {
        ack.send(&()).ok();
    });
    socket.on("second", async |Data::<Second>(second), ack: AckSender| {
        ack.send(&second.b).ok();
    });
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        ack.send(&()).ok();
    });
    socket.on("join-late", join_late);
    socket.on("members", members);
    socket.on("cast", cast);
    socket.on("storm", storm);
}

async fn work(State(app): State<App>, Data((_, _padding)): Data<(u32, String)>) {
    app.most.fetch_max(app.running.fetch_add(1, SeqCst) + 1, SeqCst);
    app.opened().await;
    app.running.fetch_sub(1, SeqCst);
    app.done.fetch_add(1, SeqCst);
}

async fn load(State(app): State<App>, ack: AckSender) {
    ack.send(&json!({ "most": app.most.load(SeqCst), "done": app.done.load(SeqCst) })).ok();
}

async fn ask(socket: SocketRef, State(app): State<App>) {
    let asked = socket.timeout(Duration::from_mins(1)).emit_with_ack::<_, String>("question", &());
    let Ok(asked) = asked else { return app.concluded("not sent") };
    app.concluded(match asked.await {
        Ok(answer) => answer,
        Err(AckError::Socket(SocketError::Closed)) => "disconnected".to_owned(),
        Err(error) => error.to_string(),
    });
}

/// Continues after its client has left.
async fn join_late(socket: SocketRef, State(app): State<App>, Data(room): Data<String>) {
    app.opened().await;
    socket.join(room);
    socket.emit("late", &()).ok();
    app.concluded("late");
}

/// `namespace, room`: returns the number of sockets in the room.
async fn members(io: SocketIo, Data((namespace, room)): Data<(String, String)>, ack: AckSender) {
    let Some(all) = io.of(namespace) else { return };
    let Ok(sockets) = all.within(room).fetch_sockets().await;
    ack.send(&sockets.len()).ok();
}

async fn cast(io: SocketIo, Data(rooms): Data<Vec<String>>, ack: AckSender) {
    io.to(rooms).emit("cast", &()).await.ok();
    ack.send(&()).ok();
}

/// `tasks, events`: starts tasks that each broadcast this number of events.
async fn storm(io: SocketIo, Data((tasks, events)): Data<(u32, u32)>) {
    for task in 0..tasks {
        let io = io.clone();
        tokio::spawn(async move {
            for event in 0..events {
                io.to("storm").emit("storm", &format!("{task}:{event}")).await.ok();
            }
        });
    }
}
