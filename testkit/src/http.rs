//! An HTTP/1.1 client that sends exactly the bytes it is given.

use std::collections::BTreeMap;

use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{Endpoint, Stream};

/// The headers of a WebSocket handshake, with the key of RFC 6455, section 1.3.
pub const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A connection that sends one request after another.
///
/// The target of a request is a path with a query, or a query alone for the server's default path.
#[derive(Debug)]
pub struct Http {
    stream: Stream,
    received: Vec<u8>,
    path: &'static str,
}

/// A response with its body.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, whose length is given by `Content-Length`.
    pub body: String,
}

impl HttpResponse {
    /// Returns the value of a header. The name must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Removes a complete response from the start of `received`.
    pub fn take(received: &mut Vec<u8>) -> Option<Self> {
        let end = head_end(received)?;
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

fn head_end(received: &[u8]) -> Option<usize> {
    Some(received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4)
}

/// Encodes a request. A body gets a `Content-Length` unless it is chunked. Bytes after a GET are not a body
/// but the first frames of a WebSocket.
pub fn request(method: &str, target: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let has_length = method != "GET" && !headers.contains("chunked");
    let len = if has_length { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{len}{headers}\r\n");
    [head.as_bytes(), body].concat()
}

impl Http {
    /// Connects to a server.
    pub async fn connect<E: Endpoint>(endpoint: &E) -> Self {
        Self::new(endpoint.connect().await, E::PATH)
    }

    /// Wraps a connection to a server whose default path is `path`.
    pub fn new(stream: Stream, path: &'static str) -> Self {
        Self { stream, received: Vec::new(), path }
    }

    /// Sends bytes. Errors are ignored, because a server that rejects a request may close before it has read
    /// all of it.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let patience = self.stream.patience;
        let written = timeout(patience, self.stream.write_all(bytes.as_ref())).await;
        let _ = written.expect("the server reads in time");
    }

    /// Shuts down the write side, which sends a FIN after the data.
    pub async fn shut_down(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads the next response. Cancel-safe, since bytes already read stay in the buffer.
    pub async fn response(&mut self) -> HttpResponse {
        loop {
            if let Some(response) = HttpResponse::take(&mut self.received) {
                return response;
            }
            let more = self.stream.read_more(&mut self.received).await;
            assert!(more, "the connection ended after {:?}", self.received.as_slice());
        }
    }

    /// Reads the head of the next response and returns it unchanged.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = head_end(&self.received) {
                return String::from_utf8(self.received.drain(..end).collect()).unwrap();
            }
            assert!(self.stream.read_more(&mut self.received).await, "the connection ended");
        }
    }

    /// Reads until the end of the connection and returns all bytes.
    pub async fn rest(&mut self) -> String {
        while self.stream.read_more(&mut self.received).await {}
        String::from_utf8(std::mem::take(&mut self.received)).unwrap()
    }

    /// Sends a request.
    pub async fn start(&mut self, method: &str, target: &str, headers: &str, body: impl AsRef<[u8]>) {
        let request = if target.starts_with('/') {
            request(method, target, headers, body)
        } else {
            request(method, &format!("{}?{target}", self.path), headers, body)
        };
        self.send(request).await;
    }

    /// Sends a request and reads the response.
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> HttpResponse {
        self.start(method, target, headers, body).await;
        self.response().await
    }

    /// Sends a GET request and reads the response.
    pub async fn get(&mut self, target: &str) -> HttpResponse {
        self.request("GET", target, "", "").await
    }

    /// Upgrades the connection to a WebSocket. Returns the stream and the bytes received after the response.
    pub async fn upgrade(self, target: &str) -> (Stream, Vec<u8>) {
        self.upgrade_with(target, "").await
    }

    /// Upgrades the connection to a WebSocket. The first frames are sent in the same segment as the
    /// handshake.
    pub async fn upgrade_with(mut self, target: &str, frames: impl AsRef<[u8]>) -> (Stream, Vec<u8>) {
        let response = self.request("GET", target, UPGRADE, frames).await;
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(response.header("upgrade"), Some("websocket"));
        self.into_parts()
    }

    /// Returns the stream and the bytes received after a response with status 101.
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.received)
    }
}
