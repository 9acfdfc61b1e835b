//! An engine that is called without a network, and helpers that build requests.
#![expect(clippy::unwrap_used, reason = "a test fails where its answer is not what it expects")]

use std::{sync::Arc, task::Context};

use bytes::Bytes;
use engineio::{
    Application, CloseReason, Connection, Engine, EngineConfig, HandshakeRequest, Message, SessionHandle,
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};

pub(crate) struct Quiet;

impl Application for Quiet {
    type Connection = Self;
    fn on_connect(&self, _: SessionHandle, _: Arc<HandshakeRequest>) -> Self {
        Self
    }
}

impl Connection for Quiet {
    fn on_message(&mut self, _: Message<'_>, _: &mut Context<'_>) {}
    fn on_close(&mut self, _: CloseReason) {}
}

pub(crate) fn engine(config: EngineConfig) -> Engine<Quiet> {
    Engine::new(Quiet, config)
}

pub(crate) const POLLING: &str = "EIO=4&transport=polling";
pub(crate) const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// Builds a request to `server.example` with these headers. WebSocket requests get the headers of the
/// handshake as well.
pub(crate) fn request(method: &str, query: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/socket.io/?{query}"))
        .header("host", "server.example");
    if query.contains("transport=websocket") {
        request = request
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

/// A response with its body read.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl HttpResponse {
    pub(crate) async fn of(response: Response<engineio::ResponseBody>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.into()).unwrap(),
        }
    }

    /// Returns all values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Returns the only value of a header, if present.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name}: {values:?}");
        values.first().copied()
    }

    /// Returns the session id from the open packet in the body.
    pub(crate) fn sid(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        self.body.split('"').nth(3).unwrap()
    }
}

pub(crate) async fn ask(
    engine: &Engine<Quiet>,
    method: &str,
    query: &str,
    headers: &[(&str, &str)],
) -> HttpResponse {
    HttpResponse::of(engine.handle(request(method, query, headers)).await).await
}

/// Opens a polling session. Returns its query parameters, to be appended after `transport`.
pub(crate) async fn session(engine: &Engine<Quiet>) -> String {
    format!("&sid={}", ask(engine, "GET", POLLING, &[]).await.sid())
}
