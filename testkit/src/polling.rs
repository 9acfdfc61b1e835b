//! A long-polling client.

use crate::{Endpoint, Http, HttpResponse};

/// A client with one connection for its polls and one for its POSTs.
#[derive(Debug)]
pub struct Polling {
    /// The id of the session.
    pub sid: String,
    /// The query string of the session's requests.
    pub query: String,
    /// The path and the query string of the session's requests.
    pub target: String,
    /// The connection for polls.
    pub get: Http,
    /// The connection for POSTs.
    pub post: Http,
}

impl Polling {
    /// Opens a session.
    pub async fn open<E: Endpoint>(server: &E) -> Self {
        Self::open_with(server, "EIO=4&transport=polling").await
    }

    /// Opens a session with a custom query string.
    pub async fn open_with<E: Endpoint>(server: &E, query: &str) -> Self {
        let mut get = Http::connect(server).await;
        let post = Http::connect(server).await;
        let open = get.get(query).await;
        let sid = open.body.strip_prefix(r#"0{"sid":""#).and_then(|rest| rest.split('"').next());
        let sid = sid.expect("an open packet").to_owned();
        let query = format!("EIO=4&transport=polling&sid={sid}");
        Self { sid, target: format!("{}?{query}", E::PATH), query, get, post }
    }

    /// Sends all further requests to another server.
    pub async fn move_to<E: Endpoint>(&mut self, server: &E) {
        self.get = Http::connect(server).await;
        self.post = Http::connect(server).await;
    }

    /// Opens a session and joins the Socket.IO namespace `/`.
    pub async fn join<E: Endpoint>(server: &E) -> Self {
        let mut client = Self::open(server).await;
        client.send("40").await;
        let response = client.poll().await;
        assert!(response.starts_with(r#"40{"sid":""#), "{response}");
        client
    }

    /// Returns the query string of a WebSocket that upgrades the session.
    pub fn upgrade_query(&self) -> String {
        format!("EIO=4&transport=websocket&sid={}", self.sid)
    }

    /// Sends a poll. [`polled`](Self::polled) reads the response.
    pub async fn start_poll(&mut self) {
        self.get.start("GET", &self.query, "", "").await;
    }

    /// Reads the response to a poll and returns its body.
    pub async fn polled(&mut self) -> String {
        let response = self.get.response().await;
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    }

    /// Sends a poll and returns the body of the response.
    pub async fn poll(&mut self) -> String {
        self.start_poll().await;
        self.polled().await
    }

    /// Returns the last messages of a closed session, and checks that the next poll returns the close packet.
    pub async fn poll_to_end(&mut self) -> String {
        let messages = self.poll().await;
        let end = self.poll().await;
        format!("{messages}\u{1e}{end}")
    }

    /// Sends a POST and reads the response.
    pub async fn post(&mut self, body: impl AsRef<[u8]>) -> HttpResponse {
        self.post.request("POST", &self.query, "", body).await
    }

    /// Sends packets and checks that the server accepts them.
    pub async fn send(&mut self, body: impl AsRef<[u8]>) {
        let response = self.post(body).await;
        assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    }

    /// Returns `true` if the server has removed the session.
    pub async fn is_gone<E: Endpoint>(&self, server: &E) -> bool {
        let response = Http::connect(server).await.get(&self.query).await;
        response.body == r#"{"code":1,"message":"Session ID unknown"}"#
    }
}

/// Joins packets to the body of a POST or of the response to a poll.
pub fn payload(packets: &[&str]) -> String {
    packets.join("\u{1e}")
}
