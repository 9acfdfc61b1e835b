//! Implements the client side of a polling session, which sends requests to the tower service of the server.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use engineio::Frame;
use http::{Extensions, HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::Mutex;
use tower_service::Service;

use crate::{
    config::ServerConfig,
    proto::{
        encode::Encoder,
        parser::{Decoder, ParserLimits},
    },
    server::Server,
};

const SEPARATOR: char = '\u{1e}';

/// A message from the server.
#[derive(Debug)]
pub(super) enum Message {
    Text(String),
    Binary(Bytes),
}

/// A polling session. All clones of a `Wire` use the same session.
#[derive(Clone)]
pub(super) struct Wire {
    server: Server,
    target: Arc<str>,
    headers: HeaderMap,
    extensions: Extensions,
    /// Locked during a POST request, because concurrent POST requests close the session.
    posting: Arc<Mutex<()>>,
}

impl Wire {
    /// Opens a session. If the session is refused, returns the body of the response.
    pub(super) async fn open(
        server: Server,
        query: String,
        headers: HeaderMap,
        extensions: Extensions,
    ) -> Result<Self, String> {
        let target = format!("{}?{query}", server.path());
        let mut wire = Self { server, target: target.into(), headers, extensions, posting: Arc::default() };
        let (status, body) = wire.request(Method::GET, String::new()).await;
        let open =
            body.strip_prefix('0').and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
        let sid = open.as_ref().and_then(|open| open["sid"].as_str());
        let Some(sid) = sid.filter(|_| status == StatusCode::OK) else { return Err(body) };
        wire.target = format!("{}&sid={sid}", wire.target).into();
        Ok(wire)
    }

    /// Sends the messages of one packet. Returns `true` if the session accepted the messages.
    pub(super) async fn send(&self, frames: &[Frame]) -> bool {
        let packets: Vec<String> = frames
            .iter()
            .map(|frame| match std::str::from_utf8(frame.payload()) {
                Ok(text) if !frame.is_binary() => text.to_owned(),
                _ => format!("b{}", BASE64_STANDARD.encode(frame.payload())),
            })
            .collect();
        self.post(packets.join(SEPARATOR.encode_utf8(&mut [0; 4]))).await
    }

    pub(super) fn config(&self) -> &ServerConfig {
        self.server.config()
    }

    /// Returns the encoder for packets to the server.
    pub(super) fn encoder<'a>(&'a self, namespace: &'a str) -> Encoder<'a> {
        Encoder { namespace, parser: self.config().parser.as_deref() }
    }

    /// Returns the decoder of the custom parser, or `None` if there is no custom parser.
    pub(super) fn decoder(&self) -> Option<Box<dyn Decoder>> {
        self.config().parser.as_ref().map(|parser| parser.decoder(ParserLimits::default()))
    }

    /// Closes the session.
    pub(super) async fn close(&self) {
        self.post("1".to_owned()).await;
    }

    async fn post(&self, body: String) -> bool {
        let _turn = self.posting.lock().await;
        self.request(Method::POST, body).await.0 == StatusCode::OK
    }

    /// Polls for messages and responds to heartbeats. Returns `None` when the session is closed.
    pub(super) async fn poll(&self) -> Option<Vec<Message>> {
        let (status, body) = self.request(Method::GET, String::new()).await;
        if status != StatusCode::OK {
            return None;
        }
        let mut messages = Vec::new();
        for packet in body.split(SEPARATOR) {
            match packet.split_at_checked(1)? {
                ("4", text) => messages.push(Message::Text(text.to_owned())),
                ("b", base64) => messages.push(Message::Binary(BASE64_STANDARD.decode(base64).ok()?.into())),
                ("2", _) => drop(self.post("3".to_owned()).await),
                ("1", _) if messages.is_empty() => return None,
                _ => {}
            }
        }
        Some(messages)
    }

    async fn request(&self, method: Method, body: String) -> (StatusCode, String) {
        let mut request = Request::new(Full::<Bytes>::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.target.parse().unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        let Ok(response) = self.server.clone().call(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap_or_default().to_bytes();
        (parts.status, String::from_utf8_lossy(&body).into_owned())
    }
}
