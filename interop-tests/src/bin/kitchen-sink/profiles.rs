//! The tested configurations.

use std::{env, time::Duration};

use axum::http::{HeaderValue, request::Parts};
use socketio::{
    ConnectionStateRecovery, Cookie, Cors, EngineConfig, HttpCompression, ListenConfig, MsgpackParser,
    PerMessageDeflate, ServerConfig, TransportKind,
};

/// A profile's name and its configuration. `None` marks a profile that this build cannot provide.
type Profile = (&'static str, Option<fn() -> ServerConfig>);

pub(crate) const ALL: [Profile; 8] = [
    ("main", Some(main)),
    ("fast", Some(fast)),
    ("strict", Some(strict)),
    ("recovery", Some(recovery)),
    ("msgpack", Some(msgpack)),
    ("polling", Some(polling)),
    ("websocket", Some(websocket)),
    ("recovery-msgpack", Some(recovery_msgpack)),
];

fn engine() -> EngineConfig {
    EngineConfig::default()
        .ping_interval(Duration::from_secs(20))
        .ping_timeout(Duration::from_secs(15))
        .upgrade_timeout(Duration::from_secs(5))
        .max_http_buffer_size(1_000_000_usize)
        .http_compression(HttpCompression::default())
        .allow_request(unless_denied)
        .initial_headers(|headers, _| {
            headers.insert("x-bb-initial", HeaderValue::from_static("1"));
        })
        .headers(|headers, _| {
            headers.insert("x-bb-each", HeaderValue::from_static("1"));
        })
}

async fn unless_denied(request: Parts) -> Result<(), &'static str> {
    let query = request.uri.query().unwrap_or_default();
    let denied = query.split('&').any(|pair| pair.split('=').next() == Some("deny"));
    if denied { Err("denied by query") } else { Ok(()) }
}

fn with(engine: EngineConfig) -> ServerConfig {
    let short_path = env::var("SHORT_PATH").as_deref() != Ok("off");
    ServerConfig::default()
        .connect_timeout(Duration::from_secs(20))
        .engine(engine)
        .listen(ListenConfig::default().short_path(short_path))
}

fn main() -> ServerConfig {
    let cors = Cors::origins(["http://allowed.example"])
        .credentials(true)
        .methods(["GET", "POST"])
        .allowed_headers(["x-custom"]);
    with(engine().allow_eio3(true).cookie(Cookie::default()).cors(cors))
}

fn fast() -> ServerConfig {
    let engine = engine()
        .allow_eio3(true)
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(500))
        .upgrade_timeout(Duration::from_millis(300))
        .max_http_buffer_size(1_000_usize);
    with(engine).connect_timeout(Duration::from_millis(500))
}

fn strict() -> ServerConfig {
    with(engine().allow_upgrades(false)).path("/bb").add_trailing_slash(false)
}

fn msgpack() -> ServerConfig {
    with(engine()).parser(MsgpackParser::default())
}

fn recovery() -> ServerConfig {
    let recovery = ConnectionStateRecovery::default().max_disconnection_duration(Duration::from_secs(1));
    with(engine()).connection_state_recovery(recovery)
}

fn recovery_msgpack() -> ServerConfig {
    recovery().parser(MsgpackParser::default())
}

fn polling() -> ServerConfig {
    with(engine().transports([TransportKind::Polling]))
}

fn websocket() -> ServerConfig {
    let engine = engine().transports([TransportKind::WebSocket]);
    with(engine.per_message_deflate(PerMessageDeflate::default().threshold(1024_usize)))
}
