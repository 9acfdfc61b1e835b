//! A session over long-polling.

use super::{Http, HttpResponse, Server};

/// A client with one connection for its polls and one for its POSTs.
pub(crate) struct Polling {
    pub(crate) sid: String,
    /// The query string of its requests.
    pub(crate) query: String,
    pub(crate) get: Http,
    pub(crate) post: Http,
}

impl Polling {
    pub(crate) async fn open(server: &Server) -> Self {
        let mut get = Http::connect(server).await;
        let post = Http::connect(server).await;
        let open = get.get("EIO=4&transport=polling").await;
        let sid = open.body.strip_prefix(r#"0{"sid":""#).expect("an open packet")[..20].to_owned();
        let query = format!("EIO=4&transport=polling&sid={sid}");
        Self { sid, query, get, post }
    }

    /// The query string of the WebSocket that takes the session over.
    pub(crate) fn upgrade_query(&self) -> String {
        format!("EIO=4&transport=websocket&sid={}", self.sid)
    }

    /// Sends a poll; the answer is to be taken from `get`.
    pub(crate) async fn start_poll(&mut self) {
        self.get.start("GET", &self.query, "", "").await;
    }

    /// Takes the answer to a poll that was started.
    pub(crate) async fn polled(&mut self) -> String {
        let answer = self.get.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub(crate) async fn poll(&mut self) -> String {
        self.start_poll().await;
        self.polled().await
    }

    /// What a session that has been closed still has: its last messages, and with the next poll the end.
    pub(crate) async fn poll_to_end(&mut self) -> String {
        let messages = self.poll().await;
        let end = self.poll().await;
        format!("{messages}\u{1e}{end}")
    }

    pub(crate) async fn post(&mut self, body: impl AsRef<[u8]>) -> HttpResponse {
        self.post.request("POST", &self.query, "", body).await
    }

    /// Sends packets that must be taken.
    pub(crate) async fn send(&mut self, body: impl AsRef<[u8]>) {
        let answer = self.post(body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }

    /// Whether the server has forgotten the session.
    pub(crate) async fn is_gone(&mut self, server: &Server) -> bool {
        let answer = Http::connect(server).await.get(&self.query).await;
        answer.body == r#"{"code":1,"message":"Session ID unknown"}"#
    }
}

/// Joins packets to the body of a POST, or of the answer to a poll.
pub(crate) fn payload(packets: &[&str]) -> String {
    packets.join("\u{1e}")
}
