//! Tests of connection state recovery: a returning client either gets its socket and the events it missed, or
//! is told that it is new.

mod coming_back;
mod limits;
mod parser;
mod random;
mod wire;

use std::time::Duration;

use serde_json::Value;
use socketio::{ConnectionStateRecovery, EngineConfig, Namespace, Server, ServerConfig, Socket};

use crate::support::{Client, Heard, Host, log, serve};

/// Returns a configuration for tests that advance the clock. The heartbeat interval is a day.
pub(super) fn config(recovery: ConnectionStateRecovery) -> ServerConfig {
    let day = Duration::from_hours(24);
    let engine = EngineConfig::default().ping_interval(day).ping_timeout(day).write_timeout(day);
    ServerConfig::default().engine(engine).connection_state_recovery(recovery)
}

/// Serves the namespace `/`, and returns a log of the connected sockets.
pub(super) async fn host_with(config: ServerConfig) -> (Host, Heard<Socket>) {
    let (sockets, connected) = log();
    let namespace = Namespace::new("/").on_connect(async move |socket| sockets.note(socket));
    (serve(Server::with_config(config).namespace(namespace)).await, connected)
}

pub(super) async fn host(recovery: ConnectionStateRecovery) -> (Host, Heard<Socket>) {
    host_with(config(recovery)).await
}

/// A client that, like the official one, takes its offset from the last argument of each event.
pub(super) struct Visitor {
    pub(super) client: Client,
    pub(super) sid: String,
    pub(super) pid: String,
    pub(super) offset: Option<String>,
}

impl Visitor {
    /// Joins the namespace `/` with a new session.
    pub(super) async fn new(host: &Host) -> Self {
        Self::with_auth(host, "").await
    }

    pub(super) async fn with_auth(host: &Host, auth: &str) -> Self {
        let mut client = Client::open(host).await;
        let answer = client.ask(format!("40{auth}")).await;
        let answer: Value = serde_json::from_str(answer.strip_prefix("40").unwrap()).unwrap();
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        Self { client, sid: text("sid"), pid: text("pid"), offset: None }
    }

    /// Returns the CONNECT payload for a recovery attempt.
    pub(super) fn auth(&self) -> String {
        let mut auth = serde_json::json!({ "pid": self.pid });
        if let Some(offset) = &self.offset {
            auth["offset"] = offset.as_str().into();
        }
        auth.to_string()
    }

    /// Drops the connection without closing it.
    pub(super) fn cut(self) -> Gone {
        Gone { auth: self.auth(), sid: self.sid, pid: self.pid, offset: self.offset }
    }

    /// Receives the next event, and returns its name and its arguments without the offset.
    pub(super) async fn event(&mut self) -> Vec<Value> {
        let packet = self.client.text().await;
        let json = packet.get(packet.find('[').unwrap()..).unwrap();
        let mut args: Vec<Value> = serde_json::from_str(json).unwrap();
        if !packet.starts_with("42[") && !packet.starts_with("45") {
            return args;
        }
        let offset = args.pop().unwrap();
        self.offset = Some(offset.as_str().unwrap().to_owned());
        args
    }

    /// Returns the first argument of every event received before the event `last`.
    pub(super) async fn until(&mut self, last: &str) -> Vec<Value> {
        let mut first = Vec::new();
        loop {
            let mut event = self.event().await;
            if event[0] == last {
                return first;
            }
            first.push(event.remove(1));
        }
    }
}

/// The state that a client keeps after it has lost its connection.
#[derive(Clone)]
pub(super) struct Gone {
    pub(super) auth: String,
    pub(super) sid: String,
    pub(super) pid: String,
    pub(super) offset: Option<String>,
}

impl Gone {
    /// Connects again. Returns `true` with the client if the session was recovered.
    pub(super) async fn come_back(&self, host: &Host) -> (Visitor, bool) {
        let mut visitor = Visitor::with_auth(host, &self.auth).await;
        visitor.offset.clone_from(&self.offset);
        let recovered = visitor.pid == self.pid;
        assert_eq!(recovered, visitor.sid == self.sid, "the ids come back together");
        (visitor, recovered)
    }
}

/// Waits until the server has noticed that all clients are disconnected.
pub(super) async fn noticed(host: &Host) {
    host.deserted("/").await;
}
