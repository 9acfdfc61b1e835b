//! Requests for the sessions of other servers of the cluster.
//!
//! The folder connects to the other servers, and passes requests and their responses on. It may import `http`,
//! `session`, `transport`, `config`, `metrics`, `proto` and `error`, but not `engine` or `listen`, which receive the
//! forwarded requests.

mod link;
mod relay;

use std::{collections::HashMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request};
use http_body::Body;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::{link::Link, relay::relay};
use crate::{
    Forwarding, ResponseBody,
    config::engine::EngineConfig,
    http::websocket_handshake::{WebSocketKey, switching_protocols},
    transport::upgrade::on_upgrade,
};

/// The body of a forwarded request.
type ForwardedBody = UnsyncBoxBody<Bytes, Broken>;

/// The time to connect to another server, which is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The headers that the server of the session reads. The server that the client has reached has already checked the
/// others, such as `Origin` and `Host`.
const PASSED_ON: [HeaderName; 6] = [
    header::ACCEPT_ENCODING,
    header::CONTENT_TYPE,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
];

/// Forwards requests to the other servers of the cluster.
pub(crate) struct Forwarder {
    forwarding: Forwarding,
    links: Mutex<HashMap<SocketAddr, Arc<Link>>>,
    /// The size of the responses that clients have not read, in KiB.
    buffered: Arc<Semaphore>,
    max_buffered: u32,
    write_timeout: Duration,
    /// Set to `true` when the engine closes.
    closing: watch::Sender<bool>,
}

/// The error that the server of a session cannot be reached.
#[derive(Debug)]
pub(crate) struct Unreachable(Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Unreachable {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error of a request body whose client has disconnected.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has disconnected")
    }
}

impl std::error::Error for Broken {}

impl Forwarder {
    pub(crate) fn new(forwarding: Forwarding, config: &EngineConfig) -> Self {
        let max_buffered = u32::try_from(config.max_buffered_total / 1024).unwrap_or(u32::MAX).max(1);
        Self {
            forwarding,
            links: Mutex::default(),
            buffered: Arc::new(Semaphore::new(max_buffered as usize)),
            max_buffered,
            write_timeout: config.write_timeout,
            closing: watch::Sender::new(false),
        }
    }

    /// Ends the WebSockets of other servers.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Forwards a poll or a POST, and returns the response when it is complete. If the future is dropped, the server
    /// of the session learns that the client has disconnected.
    pub(crate) async fn forward<B>(
        &self,
        address: SocketAddr,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, Unreachable>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let (parts, body) = request.into_parts();
        let body = body
            .map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
            .map_err(|_| Broken)
            .boxed_unsync();
        let request = self.head(&parts).uri(uri(address, &parts.uri)?).method(parts.method).body(body)?;
        let response = self.link(address).send(request).await?;
        self.receive(response).await
    }

    /// Forwards a WebSocket handshake. If the other server accepts it, the two connections are relayed.
    pub(crate) async fn upgrade<B>(
        self: Arc<Self>,
        address: SocketAddr,
        key: WebSocketKey,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, Unreachable> {
        let (mut parts, _) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut forwarded = self
            .head(&parts)
            .method(Method::GET)
            .uri(target)
            .header(header::HOST, address.to_string())
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket");
        if key.is_http2() {
            forwarded = forwarded
                .header(header::SEC_WEBSOCKET_KEY, BASE64_STANDARD.encode(rand::random::<[u8; 16]>()));
        }
        let stream = link::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(forwarded.body(http_body_util::Empty::<Bytes>::new())?).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.receive(response).await;
        }
        let mut accepted = switching_protocols(&key, &parts.headers, None);
        if let Some(extensions) = response.headers().get(header::SEC_WEBSOCKET_EXTENSIONS) {
            accepted.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, extensions.clone());
        }
        on_upgrade(&mut parts.extensions, move |client| {
            let closing = self.closing.subscribe();
            Some(Box::pin(relay(client, hyper::upgrade::on(response), self.write_timeout, closing)))
        });
        Ok(accepted)
    }

    /// Returns the head of a forwarded request, without its target.
    fn head(&self, parts: &request::Parts) -> request::Builder {
        let mut builder =
            Request::builder().header(header::AUTHORIZATION, self.forwarding.authorization().clone());
        for name in PASSED_ON {
            for value in parts.headers.get_all(&name) {
                builder = builder.header(&name, value);
            }
        }
        builder
    }

    fn link(&self, address: SocketAddr) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&address) {
            return link.clone();
        }
        // Servers come and go.
        links.retain(|_, link| link.is_used());
        links.entry(address).or_insert_with(|| Arc::new(Link::new(address))).clone()
    }

    /// Reads a response. It waits while the clients have not read the responses received so far, so that the server
    /// of the session keeps it.
    async fn receive(&self, response: Response<Incoming>) -> Result<Response<ResponseBody>, Unreachable> {
        let (parts, body) = response.into_parts();
        let size = u32::try_from(body.size_hint().lower() / 1024).unwrap_or(u32::MAX) + 1;
        let permit = self.buffered.clone().acquire_many_owned(size.min(self.max_buffered)).await?;
        let body = body.collect().await?.to_bytes();
        let body = if body.is_empty() { body } else { Bytes::from_owner(Buffered { body, _permit: permit }) };
        let mut response = Response::new(body.into());
        *response.status_mut() = parts.status;
        *response.headers_mut() = without_connection_headers(parts.headers);
        Ok(response)
    }
}

/// A body that counts until it has been written.
struct Buffered {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Buffered {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Returns the target of a request over HTTP/2.
fn uri(address: SocketAddr, target: &Uri) -> Result<Uri, http::Error> {
    let target = target.path_and_query().map_or("/", |target| target.as_str());
    Uri::builder().scheme("http").authority(address.to_string()).path_and_query(target).build()
}

/// Removes the headers that describe the connection between the servers.
fn without_connection_headers(mut headers: HeaderMap<HeaderValue>) -> HeaderMap<HeaderValue> {
    for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::DATE] {
        headers.remove(name);
    }
    headers
}
