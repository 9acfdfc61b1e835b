//! A game with a lobby that shows who is online, and a table where players take turns.
//!
//! `POST /sign-in/{name}` sets a cookie, which admits to the lobby `/`, and returns a token, which admits to
//! `/game`.

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

/// Maps tokens to names of players.
type Tokens = Arc<Mutex<HashMap<String, String>>>;

async fn sign_in(State((_, tokens)): State<App>, session: Session, Path(name): Path<String>) -> String {
    // If the store fails, no cookie is set and the lobby rejects the client.
    let _ = session.insert("name", &name).await;
    let token = Sid::random().as_str().to_owned();
    tokens.lock().insert(token.clone(), name);
    token
}

/// Admits to the lobby. The session is read from the cookie by the `tower-sessions` layer.
async fn by_cookie(handshake: Handshake) -> Result<String, ConnectError> {
    let session = handshake.extension::<Session>().ok_or("no session")?;
    Ok(session.get("name").await?.ok_or("not signed in")?)
}

/// Broadcasts the names of all sockets in the lobby.
async fn show_presence(socket: Socket<String>) -> Result<(), EmitError> {
    let mut names: Vec<_> = socket.sockets().all().iter().map(|socket| socket.data().clone()).collect();
    names.sort();
    socket.namespace().emit("present", &names)
}

/// The data of each socket in `/game`.
struct Player {
    name: String,
    points: AtomicU32,
    /// The start of the current second, and the number of events since then.
    rate: Mutex<(Instant, u32)>,
}

fn by_token(handshake: &Handshake, tokens: &Tokens) -> Result<Player, ConnectError> {
    let auth: HashMap<String, String> = handshake.auth()?;
    let name = tokens.lock().get(auth.get("token").ok_or("no token")?).cloned().ok_or("unknown token")?;
    Ok(Player { name, points: AtomicU32::new(0), rate: Mutex::new((Instant::now(), 0)) })
}

/// Middleware that limits each socket to five events per second.
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

/// Gives each player in turn one second to acknowledge with a number. Runs for the lifetime of the
/// application.
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
        // A player without a valid response loses the turn. A broadcast without a cluster cannot fail.
        let _ = io.of("/game").to("table").emit("turn over", &(name, answer.ok()));
    }
}

/// An HTTP handler that emits.
async fn announce(State((io, _)): State<App>, text: String) -> Result<(), StatusCode> {
    io.emit("announcement", &text).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

type App = (Server, Tokens);

/// Builds the application. Install the metrics recorder first.
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
