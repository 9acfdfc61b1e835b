//! HTTP/1.1 from the client's side: one request after the other on a connection.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::Instant,
};

/// A connection for requests.
pub(crate) struct Lane {
    pub(crate) stream: DuplexStream,
    pub(crate) used: Instant,
    /// What has come beyond the last answer.
    pub(crate) rest: Vec<u8>,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Lane {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self { stream, used: Instant::now(), rest: Vec::new() }
    }

    /// Sends a request and takes its answer; `None` if the connection fails.
    pub(crate) async fn request(mut self, request: String) -> Option<(Self, Response)> {
        self.stream.write_all(request.as_bytes()).await.ok()?;
        loop {
            if let Some(response) = self.response() {
                self.used = Instant::now();
                return Some((self, response));
            }
            if self.stream.read_buf(&mut self.rest).await.ok()? == 0 {
                return None;
            }
        }
    }

    fn response(&mut self) -> Option<Response> {
        let end = self.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&self.rest[..end]).unwrap();
        let status = head[9..12].parse().unwrap();
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let len = len.map_or(0, |len| len.parse().unwrap());
        let body = self.rest.get(end..end + len)?.to_vec();
        self.rest.drain(..end + len);
        Some(Response { status, body: String::from_utf8(body).unwrap() })
    }
}

pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: sim\r\n\r\n")
}

pub(crate) fn post(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: sim\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A WebSocket handshake, with the key of RFC 6455, section 1.3.
pub(crate) fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
