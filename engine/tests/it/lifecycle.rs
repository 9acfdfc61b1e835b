//! Sessions, tasks and servers shut down without leaking anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use engineio::{
    Application, CloseReason, Connection, Engine, EngineConfig, Frame, HandshakeRequest, Message, SendError,
    SessionHandle,
};
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::runtime::Handle;

use crate::support::{Http, Polling, Server, UPGRADE, WebSocket, Wire, eventually, parked};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn closing_the_engine_ends_every_session() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut websocket = WebSocket::open(&server).await;
    let mut waiting = Polling::open(&server).await;
    let mut polled = Polling::open(&server).await;
    let sessions = [server.session().await, server.session().await, server.session().await];
    polled.start_poll().await;
    parked(&sessions[2]).await;
    for session in &sessions {
        session.send(&[Frame::text("bye")]).unwrap();
    }
    assert_eq!(polled.poll().await, "4bye");
    polled.start_poll().await;
    parked(&sessions[2]).await;

    let engine = server.engine.clone();
    let closing = tokio::spawn(async move { engine.close().await });
    assert_eq!(websocket.text().await, "4bye");
    assert_eq!(websocket.ended().await, (1001, "server shutting down".into()));
    assert_eq!(polled.polled().await, "1");
    assert_eq!(waiting.poll_to_end().await, "4bye\u{1e}1");
    for _ in 0..3 {
        assert_eq!(server.end().await, CloseReason::ServerShuttingDown);
    }
    closing.await.unwrap();
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn an_idle_websocket_is_one_task() {
    const CONNECTIONS: usize = 50;
    let mut server = Server::start(EngineConfig::default()).await;
    tokio::task::yield_now().await;
    let before = tasks();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(WebSocket::open(&server).await);
    }
    eventually(|| tasks() <= before + CONNECTIONS).await;
    for client in &mut clients {
        client.send("4hello").await;
        assert_eq!(client.text().await, "4hello");
    }
    assert_eq!(tasks(), before + CONNECTIONS);

    drop(clients);
    for _ in 0..CONNECTIONS {
        assert_eq!(server.end().await, CloseReason::TransportClose);
    }
    eventually(|| tasks() == before).await;
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn an_upgraded_session_is_one_task() {
    let server = Server::start(EngineConfig::default()).await;
    tokio::task::yield_now().await;
    let before = tasks();
    let client = Polling::open(&server).await;
    let mut websocket = WebSocket::upgrade(&server, &client).await;
    drop(client);
    websocket.send("4upgraded").await;
    assert_eq!(websocket.text().await, "4upgraded");
    eventually(|| tasks() == before + 1).await;
}

#[tokio::test]
async fn nothing_stays_of_sessions_that_ended_in_any_way() {
    let mut server = Server::start(EngineConfig::default()).await;
    tokio::task::yield_now().await;
    let before = tasks();
    for _ in 0..20 {
        drop(Wire::open(&server).await);
        WebSocket::open(&server).await.finish().await;
        let mut client = Polling::open(&server).await;
        client.post("garbage").await;
        let mut client = Polling::open(&server).await;
        client.send("1").await;
        let mut client = Polling::open(&server).await;
        client.send("4close").await;
        client.poll().await;
        let client = Polling::open(&server).await;
        drop(WebSocket::upgrade(&server, &client).await);
    }
    for _ in 0..6 * 20 {
        server.end().await;
    }
    eventually(|| server.engine.session_count() == 0).await;
    eventually(|| tasks() == before).await;
    assert!(server.no_more_ends());
}

#[test]
fn a_runtime_that_is_dropped_takes_its_sessions_along() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clients = runtime();
    let servers = runtime();
    let mut server = servers.block_on(Server::start(EngineConfig::default()));
    let engine = server.engine.clone();
    let (session, client) = servers.block_on(async {
        let client = Wire::open(&server).await;
        (server.session().await, client)
    });
    assert_eq!(engine.session_count(), 1);
    drop(servers);
    assert_eq!(engine.session_count(), 0);
    assert_eq!(session.send(&[Frame::text("late")]), Err(SendError::Closed));
    session.close();
    drop((client, clients));
}

#[tokio::test]
async fn a_panic_ends_only_its_session() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut other = WebSocket::open(&server).await;
    let mut websocket = Wire::open(&server).await;
    websocket.send(crate::support::frame(0x81, "4panic")).await;
    assert_eq!(websocket.frame().await, None);
    let mut polling = Polling::open(&server).await;
    assert_eq!(polling.post("4panic").await.status, 400);
    eventually(|| server.engine.session_count() == 1).await;

    // A panic before the session is created leaves no session behind.
    for (transport, headers) in [("polling", ""), ("websocket", UPGRADE)] {
        let mut http = Http::connect(&server).await;
        http.start("GET", &format!("EIO=4&transport={transport}&panic=1"), headers, "").await;
        let answer = http.rest().await;
        // hyper has written the response when it passes the stream on.
        let is_upgraded = answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n");
        assert!(answer.is_empty() || (is_upgraded && !testkit::uses_short_path()), "{answer}");
    }
    assert_eq!(server.engine.session_count(), 1);

    other.send("4alive").await;
    assert_eq!(other.text().await, "4alive");
    assert!(server.no_more_ends());
}

/// A handler that keeps running for ten polls after the session has closed, like a disconnect handler that
/// awaits something.
#[derive(Default)]
struct Lingering {
    turns: Arc<AtomicUsize>,
}

struct LingeringConnection {
    turns: Arc<AtomicUsize>,
    session: SessionHandle,
    closed: bool,
}

const TURNS: usize = 10;

impl Application for Lingering {
    type Connection = LingeringConnection;

    fn on_connect(&self, session: SessionHandle, _: Arc<HandshakeRequest>) -> LingeringConnection {
        LingeringConnection { turns: self.turns.clone(), session, closed: false }
    }
}

impl Connection for LingeringConnection {
    fn on_message(&mut self, _: Message<'_>, _: &mut Context<'_>) {
        self.session.close();
    }

    fn poll_progress(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if !self.closed || self.turns.load(Ordering::Relaxed) == TURNS {
            return Poll::Ready(());
        }
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.session.wake();
        Poll::Pending
    }

    fn on_close(&mut self, _: CloseReason) {
        self.closed = true;
    }
}

#[tokio::test(start_paused = true)]
async fn what_begins_at_the_end_of_a_session_is_finished() {
    for end in ["timeout", "close packet", "malformed", "handler"] {
        let turns = Arc::new(AtomicUsize::new(0));
        let engine = Engine::new(Lingering { turns: turns.clone() }, EngineConfig::default());
        let open = request(&engine, Request::get("/?EIO=4&transport=polling"), "").await;
        let target = format!("/?EIO=4&transport=polling&sid={}", &open[9..29]);
        match end {
            "timeout" => {}
            "close packet" => drop(request(&engine, Request::post(&target), "1").await),
            "malformed" => drop(request(&engine, Request::post(&target), "x").await),
            _ => {
                request(&engine, Request::post(&target), "4close").await;
                request(&engine, Request::get(&target), "").await;
            }
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(turns.load(Ordering::Relaxed), TURNS, "{end}");
        assert_eq!(tasks(), 0, "{end}");
        assert_eq!(engine.session_count(), 0, "{end}");
    }
}

/// Calls the engine directly, without an HTTP server.
async fn request(engine: &Engine<Lingering>, request: http::request::Builder, body: &'static str) -> String {
    let body = Full::<bytes::Bytes>::from(body);
    let answer = engine.handle(request.body(body).unwrap()).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
