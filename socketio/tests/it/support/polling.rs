//! A session over long-polling.

use super::{Host, Http, HttpResponse};

/// A client with one connection for its polls and one for its POSTs.
#[derive(Debug)]
pub(crate) struct Polling {
    sid: String,
    pub(crate) target: String,
    pub(crate) get: Http,
    pub(crate) post: Http,
}

impl Polling {
    /// Opens a session.
    pub(crate) async fn open(host: &Host) -> Self {
        Self::open_with(host, "EIO=4&transport=polling").await
    }

    /// Opens a session with more in the query string.
    pub(crate) async fn open_with(host: &Host, query: &str) -> Self {
        let mut get = Http::connect(host).await;
        let post = Http::connect(host).await;
        let open = get.get(&format!("/socket.io/?{query}")).await;
        let sid = open.body.strip_prefix(r#"0{"sid":""#).expect("an open packet")[..20].to_owned();
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        Self { sid, target, get, post }
    }

    /// Opens a session in the namespace `/`.
    pub(crate) async fn join(host: &Host) -> Self {
        let mut client = Self::open(host).await;
        client.send(&["40"]).await;
        let answer = client.poll().await;
        assert!(answer.starts_with(r#"40{"sid":""#), "{answer}");
        client
    }

    /// The query string of the WebSocket that takes the session over.
    pub(crate) fn upgrade_query(&self) -> String {
        format!("EIO=4&transport=websocket&sid={}", self.sid)
    }

    /// Sends a poll; its answer is to be taken by [`polled`](Self::polled).
    pub(crate) async fn start_poll(&mut self) {
        self.get.start("GET", &self.target, "", "").await;
    }

    /// The body of the answer to a poll.
    pub(crate) async fn polled(&mut self) -> String {
        let answer = self.get.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub(crate) async fn poll(&mut self) -> String {
        self.start_poll().await;
        self.polled().await
    }

    pub(crate) async fn post(&mut self, body: impl AsRef<[u8]>) -> HttpResponse {
        self.post.request("POST", &self.target, "", body).await
    }

    /// Sends packets that must be taken.
    pub(crate) async fn send(&mut self, packets: &[&str]) {
        let answer = self.post(payload(packets)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }

    /// Whether the server has forgotten the session.
    pub(crate) async fn is_gone(&self, host: &Host) -> bool {
        let answer = Http::connect(host).await.get(&self.target).await;
        answer.body == r#"{"code":1,"message":"Session ID unknown"}"#
    }
}

/// Joins packets to the body of a POST, or of the answer to a poll.
pub(crate) fn payload(packets: &[&str]) -> String {
    packets.join("\u{1e}")
}

/// Three bytes in base64, as attachments travel by long-polling.
pub(crate) fn base64([a, b, c]: [u8; 3]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u32::from_be_bytes([0, a, b, c]);
    [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift) as usize & 63])).iter().collect()
}
