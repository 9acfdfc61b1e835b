//! Connections that send one request after another.

use testkit::{
    HttpResponse,
    http::{UPGRADE, request},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::Instant,
};

/// A connection for HTTP requests.
pub(crate) struct Lane {
    pub(crate) stream: DuplexStream,
    pub(crate) used: Instant,
    /// Bytes received after the last response.
    pub(crate) rest: Vec<u8>,
}

impl Lane {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self { stream, used: Instant::now(), rest: Vec::new() }
    }

    /// Sends a request and reads its response. Returns `None` if the connection fails.
    pub(crate) async fn request(mut self, request: Vec<u8>) -> Option<(Self, HttpResponse)> {
        self.stream.write_all(&request).await.ok()?;
        loop {
            if let Some(response) = HttpResponse::take(&mut self.rest) {
                self.used = Instant::now();
                return Some((self, response));
            }
            if self.stream.read_buf(&mut self.rest).await.ok()? == 0 {
                return None;
            }
        }
    }
}

pub(crate) fn get(target: &str) -> Vec<u8> {
    request("GET", target, "", "")
}

pub(crate) fn post(target: &str, body: &str) -> Vec<u8> {
    request("POST", target, "", body)
}

pub(crate) fn upgrade(target: &str) -> Vec<u8> {
    request("GET", target, UPGRADE, "")
}
