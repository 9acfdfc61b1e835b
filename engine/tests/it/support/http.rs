//! An HTTP/1.1 client that sends exactly the bytes it is given.

use std::collections::BTreeMap;

use tokio::io::AsyncWriteExt;

use super::{Server, Stream};

/// The headers of a WebSocket handshake, with the key of RFC 6455, section 1.3.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A connection that carries one request after the other.
pub(crate) struct Http {
    stream: Stream,
    received: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    /// The headers, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl HttpResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Takes an answer from the start of `received`, once it is complete.
    fn parse(received: &mut Vec<u8>) -> Option<Self> {
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&received[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let len = headers.get("content-length").map_or(0, |len| len.parse().unwrap());
        let body = received.get(end..end + len)?.to_vec();
        received.drain(..end + len);
        Some(Self { status, headers, body: String::from_utf8(body).unwrap() })
    }
}

impl Http {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::new(server.connect().await)
    }

    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes. A server that refuses a request may close before it has read all of it.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Ends our side of the stream: what was sent is followed by a FIN.
    pub(crate) async fn shut_down(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Takes the next answer. Cancel-safe: what has come is kept.
    pub(crate) async fn answer(&mut self) -> HttpResponse {
        loop {
            if let Some(answer) = HttpResponse::parse(&mut self.received) {
                return answer;
            }
            let more = self.stream.read_more(&mut self.received).await;
            assert!(more, "the connection ended after {:?}", self.received.as_slice());
        }
    }

    /// Takes the head of the next answer, as it is.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return String::from_utf8(self.received.drain(..end + 4).collect()).unwrap();
            }
            assert!(self.stream.read_more(&mut self.received).await, "the connection ended");
        }
    }

    /// Waits for the end of the connection, and says what came before.
    pub(crate) async fn rest(&mut self) -> String {
        while self.stream.read_more(&mut self.received).await {}
        String::from_utf8(std::mem::take(&mut self.received)).unwrap()
    }

    pub(crate) async fn start(&mut self, method: &str, query: &str, headers: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let len = match method {
            "GET" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("{method} /engine.io/?{query} HTTP/1.1\r\nHost: test\r\n{len}{headers}\r\n");
        self.send([head.as_bytes(), body].concat()).await;
    }

    pub(crate) async fn request(
        &mut self,
        method: &str,
        query: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> HttpResponse {
        self.start(method, query, headers, body).await;
        self.answer().await
    }

    pub(crate) async fn get(&mut self, query: &str) -> HttpResponse {
        self.request("GET", query, "", "").await
    }

    /// Turns the connection into a WebSocket: the stream, and what has come of it already.
    pub(crate) async fn upgrade(mut self, query: &str) -> (Stream, Vec<u8>) {
        let answer = self.request("GET", query, UPGRADE, "").await;
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(answer.header("upgrade"), Some("websocket"));
        (self.stream, self.received)
    }

    /// What is left of a connection after an answer with status 101.
    pub(crate) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.received)
    }
}
