//! One server of the fleet.

use std::{env, error::Error, sync::Arc, time::Duration};

use axum::{Json, Router, http::header::CONTENT_TYPE, response::Html, routing::get};
use serde::{Deserialize, Serialize};
use socketio::{
    Ack, ConnectError, Cors, DisconnectReason, EmitError, EngineConfig, EventError, Handshake, Namespace,
    Server, ServerConfig, Socket,
};
use socketio_nats::Nats;
use socketio_postgres::Postgres;
use socketio_redis::Classic;
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    sync::Notify,
    time::{Instant, interval, sleep},
};

use crate::{NAMES, url};

/// How often the list of people is fetched if nobody comes or goes. A server that is killed tells nobody.
const REFRESH: Duration = Duration::from_secs(2);
/// The minimum time between two lists.
const PAUSE: Duration = Duration::from_millis(100);
/// The time within which the other servers must respond.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The state of this server.
struct Here {
    name: &'static str,
    started: Instant,
    /// Somebody has come or gone, here or on another server.
    changed: Notify,
}

/// The data of each socket. The other servers see the serialized fields.
#[derive(Serialize)]
struct Person {
    name: String,
    server: &'static str,
    #[serde(skip)]
    here: Arc<Here>,
}

/// A person on any server.
#[derive(Serialize)]
struct Listed {
    id: String,
    name: String,
    server: String,
}

/// The list on the page.
#[derive(Serialize)]
struct List {
    people: Vec<Listed>,
    /// The number of servers that did not respond.
    missing: usize,
    /// The broker is connected.
    is_connected: bool,
}

#[derive(Serialize)]
struct Said<'a> {
    from: &'a str,
    server: &'a str,
    text: String,
}

/// The response of a server to `report`.
#[derive(Serialize, Deserialize)]
struct Report {
    server: String,
    process: u32,
    seconds: u64,
}

#[derive(Serialize)]
struct Reports {
    reports: Vec<Report>,
    /// The number of servers that did not respond.
    missing: usize,
}

impl Here {
    fn report(&self) -> Report {
        let seconds = self.started.elapsed().as_secs();
        Report { server: self.name.to_owned(), process: std::process::id(), seconds }
    }
}

/// Runs until the input of the process ends.
pub(crate) async fn run(index: usize, port: u16) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let name = *NAMES.get(index).ok_or("there is no server of this number")?;
    let listener = TcpListener::bind(("127.0.0.1", port + u16::try_from(index)?)).await?;
    let here = Arc::new(Here { name, started: Instant::now(), changed: Notify::new() });

    // A page connects to another server if its own one ends.
    let indices = 0..NAMES.len();
    let origins = indices.flat_map(|index| ["127.0.0.1", "localhost"].map(|host| url(host, port, index)));
    let config = ServerConfig::default()
        .serve_client(client_files::fetch()?)
        .engine(EngineConfig::default().cors(Cors::origins(origins)));
    let url = env::var("BROKER_URL")?;
    let io = match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Server::with_cluster(config, Postgres::new(&url)?),
        Some(("nats", _)) => Server::with_cluster(config, Nats::new(&url)?),
        _ => Server::with_cluster(config, Classic::new(&url)?),
    };
    let io = io.namespace(namespace(here.clone()));

    tokio::spawn(announce(io.clone(), here));
    let serving = tokio::spawn(io.clone().serve(listener).with_fallback(page(port)).into_future());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    io.close().await;
    Ok(serving.await??)
}

fn page(port: u16) -> Router {
    let file = |kind: &'static str, text: &'static str| get(([(CONTENT_TYPE, kind)], text));
    let servers = NAMES.iter().enumerate().map(|(index, name)| (*name, url("127.0.0.1", port, index)));
    let servers: Vec<_> = servers.collect();
    Router::new()
        .route("/", get(Html(include_str!("../page/index.html"))))
        .route("/fleet.js", file("text/javascript; charset=utf-8", include_str!("../page/fleet.js")))
        .route("/style.css", file("text/css; charset=utf-8", include_str!("../page/style.css")))
        .route("/servers.json", get(async || Json(servers)))
}

fn namespace(here: Arc<Here>) -> Namespace<Person> {
    let (changed, reporting) = (here.clone(), here.clone());
    Namespace::with_auth("/", async move |handshake: Handshake| {
        #[derive(Deserialize)]
        struct Auth {
            name: String,
        }
        let Auth { name } = handshake.auth()?;
        if name.is_empty() || name.len() > 32 {
            return Err(ConnectError::new("a name has 1 to 32 bytes"));
        }
        Ok(Person { name, server: here.name, here })
    })
    .share_data()
    .on_connect(came_or_went)
    .on_disconnect(async |socket: Socket<Person>, _: DisconnectReason| came_or_went(socket).await)
    .on("say", say)
    .on("wave", wave)
    .on("report", report)
    .on_server("changed", async move |_, ()| changed.changed.notify_one())
    .on_server("report", async move |_, ()| Ack(reporting.report()))
}

/// Tells all servers that the list of people has changed.
async fn came_or_went(socket: Socket<Person>) -> Result<(), EmitError> {
    socket.data().here.changed.notify_one();
    socket.namespace().server_side_emit("changed", &())
}

/// Sends a message to everybody, on all servers.
async fn say(socket: Socket<Person>, text: String) -> Result<(), EmitError> {
    let Person { name, server, .. } = socket.data();
    socket.namespace().emit("said", &Said { from: name, server, text })
}

/// Sends an event to one person, on any server. The id of a socket is the name of its room.
async fn wave(socket: Socket<Person>, id: String) -> Result<(), EmitError> {
    let Person { name, server, .. } = socket.data();
    socket.to(id).emit("waved", &(name, server))
}

/// Asks all servers for a report.
async fn report(socket: Socket<Person>, (): ()) -> Result<Ack<Reports>, EventError> {
    let others = socket.namespace().timeout(TIMEOUT);
    let answers = others.server_side_emit_with_ack::<Report, _>("report", &()).await?;
    let mut reports = vec![socket.data().here.report()];
    reports.extend(answers.answers.into_iter().map(|(_, report)| report));
    reports.sort_by(|a, b| a.server.cmp(&b.server));
    Ok(Ack(Reports { reports, missing: answers.missing.len() }))
}

/// Sends the people of all servers to the clients of this server, after each change.
async fn announce(io: Server, here: Arc<Here>) {
    #[derive(Deserialize)]
    struct Shared {
        name: String,
        server: String,
    }
    let mut ticks = interval(REFRESH);
    loop {
        tokio::select! {
            () = here.changed.notified() => {}
            _ = ticks.tick() => {}
        }
        // If a server does not respond, the sockets of the others are known nevertheless.
        let (sockets, missing) = match io.of("/").timeout(TIMEOUT).fetch_sockets().await {
            Ok(sockets) => (sockets, 0),
            Err(error) => (error.sockets, error.missing.len()),
        };
        let listed = sockets.iter().filter_map(|socket| {
            let Shared { name, server } = socket.data().ok()?;
            Some(Listed { id: socket.id().to_owned(), name, server })
        });
        let mut people: Vec<_> = listed.collect();
        people.sort_by(|a, b| a.id.cmp(&b.id));
        let is_connected = io.cluster_status().is_some_and(|status| status.is_connected);
        let list = List { people, missing, is_connected };
        io.local().emit("people", &list).unwrap_or_else(|error| eprintln!("fleet: {error}"));
        sleep(PAUSE).await;
    }
}
