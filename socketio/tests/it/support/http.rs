//! An HTTP/1.1 client that carries one request after the other.

use std::collections::BTreeMap;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Host, within};

/// The headers of a WebSocket handshake, with the key of RFC 6455, section 1.3.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[derive(Debug)]
pub(crate) struct Http {
    stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    /// The headers, names in lower case.
    headers: BTreeMap<String, String>,
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
        let status = head[9..12].parse().unwrap();
        let headers: BTreeMap<_, _> = head
            .lines()
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
    pub(crate) async fn connect(host: &Host) -> Self {
        Self { stream: host.connect().await, received: Vec::new() }
    }

    /// Sends a request for a path with a query. A body is announced with its length, unless it comes in chunks.
    pub(crate) async fn start(&mut self, method: &str, target: &str, headers: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        // What follows a GET is no body, but the first frames of a WebSocket.
        let announced = method != "GET" && !headers.contains("chunked");
        let len = if announced { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{len}{headers}\r\n");
        // A server that refuses a request may close before it has read all of it.
        let _ = within(self.stream.write_all(&[head.as_bytes(), body].concat())).await;
    }

    /// Takes the next answer. Cancel-safe: what has come is kept.
    pub(crate) async fn answer(&mut self) -> HttpResponse {
        loop {
            if let Some(answer) = HttpResponse::parse(&mut self.received) {
                return answer;
            }
            let read = within(self.stream.read_buf(&mut self.received)).await.unwrap_or(0);
            assert!(read > 0, "the connection ended after {:?}", self.received);
        }
    }

    pub(crate) async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> HttpResponse {
        self.start(method, target, headers, body).await;
        self.answer().await
    }

    pub(crate) async fn get(&mut self, target: &str) -> HttpResponse {
        self.request("GET", target, "", "").await
    }

    /// Asks for a WebSocket, with the first bytes for it in the same segment. Gives back the stream, and what has
    /// come of it already.
    pub(crate) async fn upgrade(mut self, query: &str, first: &[u8]) -> (TcpStream, Vec<u8>) {
        let target = format!("/socket.io/?{query}");
        self.start("GET", &target, UPGRADE, first).await;
        let answer = self.answer().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        (self.stream, self.received)
    }
}
