//! Rejected requests. Status, code, message and type match the Node.js implementation, and nothing is
//! upgraded.

use engineio::{EngineConfig, TransportKind};

use crate::support::{Http, HttpResponse, Polling, Server, UPGRADE, WebSocket};

const OLD: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SHORT_KEY: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n";
const NO_KEY: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
const H2C: &str = "Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn message(code: u8) -> &'static str {
    match code {
        0 => "Transport unknown",
        1 => "Session ID unknown",
        2 => "Bad handshake method",
        3 => "Bad request",
        5 => "Unsupported protocol version",
        _ => panic!("no such code"),
    }
}

#[track_caller]
fn assert_refused(answer: &HttpResponse, code: u8, what: &str) {
    assert_eq!(answer.status, 400, "{what}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    let body = format!(r#"{{"code":{code},"message":"{}"}}"#, message(code));
    assert_eq!(answer.body, body, "{what}");
}

/// Sends all requests over one connection, which a rejection does not close.
async fn refuses(server: &Server, cases: &[(&str, &str, &str, u8)]) {
    let before = server.engine.session_count();
    let mut http = Http::connect(server).await;
    for &(method, query, headers, code) in cases {
        let answer = http.request(method, query, headers, "").await;
        assert_refused(&answer, code, &format!("{method} {query} {headers}"));
    }
    assert_eq!(server.engine.session_count(), before);
    assert_eq!(http.get("EIO=4&transport=polling").await.status, 200);
}

#[tokio::test]
async fn handshakes_over_polling() {
    let server = Server::start(EngineConfig::default()).await;
    let cases = [
        ("GET", "", "", 0),
        ("GET", "EIO=4", "", 0),
        ("GET", "EIO=4&transport=", "", 0),
        ("GET", "EIO=4&transport=unknown", "", 0),
        ("GET", "EIO=4&transport=webtransport", "", 0),
        ("GET", "EIO=4&transport=__proto__", "", 0),
        ("GET", "EIO=4&transport=Polling", "", 0),
        ("GET", "EIO=4&transport=polling&transport=unknown", "", 0),
        ("GET", "EIO=4&transport=polling&sid=unknown", "", 1),
        ("GET", "EIO=4&transport=polling&sid=__proto__", "", 1),
        ("GET", "EIO=4&transport=polling&sid=aaaaaaaaaaaaaaaaaaaa", "", 1),
        ("POST", "EIO=4&transport=polling&sid=aaaaaaaaaaaaaaaaaaaa", "", 1),
        ("POST", "EIO=4&transport=polling", "", 2),
        ("PUT", "EIO=4&transport=polling", "", 2),
        ("OPTIONS", "EIO=4&transport=polling", "", 2),
        ("DELETE", "EIO=3&transport=websocket", "", 2),
        ("GET", "EIO=4&transport=websocket", "", 3),
        ("GET", "EIO=4&transport=websocket", H2C, 3),
        ("GET", "EIO=3&transport=polling", "", 5),
        ("GET", "EIO=5&transport=polling", "", 5),
        ("GET", "EIO=&transport=polling", "", 5),
        ("GET", "transport=polling", "", 5),
    ];
    refuses(&server, &cases).await;
}

#[tokio::test]
async fn handshakes_over_websocket_are_refused_before_the_upgrade() {
    let server = Server::start(EngineConfig::default()).await;
    let cases = [
        ("GET", "EIO=4", UPGRADE, 0),
        ("GET", "EIO=4&transport=webtransport", UPGRADE, 0),
        ("GET", "EIO=4&transport=__proto__", UPGRADE, 0),
        ("GET", "EIO=4&transport=websocket&sid=unknown", UPGRADE, 1),
        ("GET", "EIO=4&transport=websocket&sid=aaaaaaaaaaaaaaaaaaaa", UPGRADE, 1),
        ("POST", "EIO=4&transport=websocket", UPGRADE, 2),
        ("GET", "EIO=4&transport=polling", UPGRADE, 3),
        ("GET", "EIO=4&transport=websocket", OLD, 3),
        ("GET", "EIO=4&transport=websocket", SHORT_KEY, 3),
        ("GET", "EIO=4&transport=websocket", NO_KEY, 3),
        ("GET", "EIO=3&transport=websocket", UPGRADE, 5),
        ("GET", "transport=websocket", UPGRADE, 5),
    ];
    refuses(&server, &cases).await;
}

#[tokio::test]
async fn requests_that_do_not_fit_their_session() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut polling = Polling::open(&server).await;
    let mut websocket = WebSocket::open(&server).await;
    server.session().await;
    let upgraded = server.session().await.id().to_string();
    let sid = &polling.sid;
    let cases = [
        ("GET", format!("EIO=4&transport=polling&sid={upgraded}"), "", 3),
        ("POST", format!("EIO=4&transport=polling&sid={upgraded}"), "", 3),
        ("GET", format!("EIO=4&transport=websocket&sid={upgraded}"), "", 3),
        ("GET", format!("EIO=4&transport=websocket&sid={upgraded}"), UPGRADE, 3),
        ("GET", format!("EIO=4&transport=websocket&sid={sid}"), "", 3),
        ("GET", format!("EIO=4&transport=polling&sid={sid}"), UPGRADE, 3),
        ("GET", format!("EIO=3&transport=polling&sid={sid}"), "", 3),
        ("GET", format!("transport=polling&sid={sid}"), "", 3),
        ("GET", format!("EIO=3&transport=websocket&sid={sid}"), UPGRADE, 3),
        ("GET", format!("EIO=4&transport=websocket&sid={sid}"), OLD, 3),
        ("POST", format!("EIO=4&transport=websocket&sid={sid}"), UPGRADE, 3),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(method, query, headers, code)| (*method, query.as_str(), *headers, *code))
        .collect();
    refuses(&server, &cases).await;

    polling.send("4alive").await;
    assert_eq!(polling.poll().await, "4alive");
    websocket.send("4alive").await;
    assert_eq!(websocket.text().await, "4alive");
}

#[tokio::test]
async fn transports_that_are_switched_off() {
    let server = Server::start(EngineConfig::default().transports([TransportKind::Polling])).await;
    refuses(&server, &[("GET", "EIO=4&transport=websocket", UPGRADE, 0)]).await;
    let polling = Polling::open(&server).await;
    refuses(&server, &[("GET", &polling.upgrade_query(), UPGRADE, 0)]).await;

    let server = Server::start(EngineConfig::default().transports([TransportKind::WebSocket])).await;
    let answer = Http::connect(&server).await.get("EIO=4&transport=polling").await;
    assert_refused(&answer, 0, "polling");
    WebSocket::open(&server).await;
}

#[tokio::test]
async fn upgrades_that_are_switched_off() {
    let server = Server::start(EngineConfig::default().allow_upgrades(false)).await;
    let mut polling = Polling::open(&server).await;
    refuses(&server, &[("GET", &polling.upgrade_query(), UPGRADE, 3)]).await;
    polling.send("4alive").await;
    assert_eq!(polling.poll().await, "4alive");
    WebSocket::open(&server).await;
}

#[tokio::test]
async fn the_path_is_not_looked_at() {
    // The caller of the engine is responsible for routing by path.
    let server = Server::start(EngineConfig::default()).await;
    let mut http = Http::connect(&server).await;
    http.send("GET /anything?EIO=4&transport=polling HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(http.response().await.status, 200);
}
