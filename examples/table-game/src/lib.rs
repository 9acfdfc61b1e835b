//! A game at a table: a lobby that shows who is here, and a table where players take turns.
//!
//! Who signs in by HTTP gets a cookie, which lets into the lobby `/`, and a token, which lets into `/game`.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing,
};
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use socketio::{
    Ack, AckResponse, ConnectError, EmitError, EngineConfig, Event, EventError, Handshake, Namespace, Next,
    Server, ServerConfig, Sid, Socket,
};
use tokio::time::{Instant, interval};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

const SECOND: Duration = Duration::from_secs(1);

/// The names of players, by their tokens.
type Tokens = Arc<Mutex<HashMap<String, String>>>;

async fn sign_in(State((_, tokens)): State<App>, session: Session, Path(name): Path<String>) -> String {
    // If the store fails, there is no cookie, and the lobby refuses.
    let _ = session.insert("name", &name).await;
    let token = Sid::random().as_str().to_owned();
    tokens.lock().insert(token.clone(), name);
    token
}

/// The lobby: the layer of `tower-sessions` has read the cookie.
async fn by_cookie(handshake: Handshake) -> Result<String, ConnectError> {
    let session = handshake.extension::<Session>().ok_or("no session")?;
    Ok(session.get("name").await?.ok_or("not signed in")?)
}

/// Tells everybody who is here.
async fn show_presence(socket: Socket<String>) -> Result<(), EmitError> {
    let mut names: Vec<_> = socket.sockets().all().iter().map(|socket| socket.data().clone()).collect();
    names.sort();
    socket.namespace().emit("present", &names)
}

/// What the server remembers of a socket at the table.
struct Player {
    name: String,
    points: AtomicU32,
    /// The current second, and the events in it.
    rate: Mutex<(Instant, u32)>,
}

fn by_token(handshake: &Handshake, tokens: &Tokens) -> Result<Player, ConnectError> {
    let auth: HashMap<String, String> = handshake.auth()?;
    let name = tokens.lock().get(auth.get("token").ok_or("no token")?).cloned().ok_or("unknown token")?;
    Ok(Player { name, points: AtomicU32::new(0), rate: Mutex::new((Instant::now(), 0)) })
}

/// Stands around all handlers of the table.
async fn limit_rate(
    socket: Socket<Player>,
    event: Event,
    next: Next<Player>,
) -> Result<AckResponse, EventError> {
    let is_allowed = {
        let (second, count) = &mut *socket.data().rate.lock();
        if second.elapsed() >= SECOND {
            (*second, *count) = (Instant::now(), 0);
        }
        *count += 1;
        *count <= 5
    };
    if is_allowed { next.run(event).await } else { Err("not so fast".into()) }
}

/// Gives turns, for as long as the server lives: whose turn it is has a second to answer with a number.
pub async fn give_turns(io: Server) {
    let mut clock = interval(SECOND);
    let Some(sockets) = io.sockets::<Player>("/game") else { return };
    for turn in 0_usize.. {
        clock.tick().await;
        let players = sockets.in_room("table");
        let Some(socket) = players.get(turn.checked_rem(players.len()).unwrap_or(0)) else { continue };
        let answer = socket.emit_with_ack::<u32, _>("your turn", &turn).timeout(SECOND).await;
        let Player { name, points, .. } = socket.data();
        points.fetch_add(*answer.as_ref().unwrap_or(&0), Ordering::Relaxed);
        // Who has no answer has lost this turn. Without a cluster, to emit cannot fail.
        let _ = io.of("/game").to("table").emit("turn over", &(name, answer.ok()));
    }
}

/// An HTTP handler that emits.
async fn announce(State((io, _)): State<App>, text: String) -> Result<(), StatusCode> {
    io.emit("announcement", &text).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

type App = (Server, Tokens);

/// The application. The recorder of the metrics must have been installed before.
pub fn app(metrics: PrometheusHandle) -> (Router, Server) {
    let tokens = Tokens::default();
    let lobby = Namespace::with_auth("/", by_cookie)
        .on_connect(show_presence)
        .on_disconnect(async |socket, _| show_presence(socket).await);
    let known = tokens.clone();
    let game = Namespace::with_auth("/game", async move |handshake| by_token(&handshake, &known))
        .wrap(limit_rate)
        .on_connect(async |socket| socket.join("table"))
        .on_unit("points", async |socket: Socket<Player>| Ack(socket.data().points.load(Ordering::Relaxed)));
    let engine = EngineConfig::default().keep_extension::<Session>();
    let io = Server::with_config(ServerConfig::default().engine(engine)).namespace(lobby).namespace(game);
    let router = Router::new()
        .route("/sign-in/{name}", routing::post(sign_in))
        .route("/announce", routing::post(announce))
        .route("/metrics", routing::get(async move || metrics.render()))
        .with_state((io.clone(), tokens))
        .route_service("/socket.io/", io.clone())
        .layer(SessionManagerLayer::new(MemoryStore::default()).with_secure(false));
    (router, io)
}
