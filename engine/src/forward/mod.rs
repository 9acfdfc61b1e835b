//! Requests for the sessions of other servers of the cluster.
//!
//! A server opens one connection to each other server, a link, for all polls and POSTs, and one for each WebSocket. The
//! folder has both ends. It may import `http`, `session`, `transport`, `config`, `metrics`, `proto` and `error`, but
//! not `engine` or `listen`, which accept the connections of the other servers.

mod frames;
mod link;
mod relay;
pub(crate) mod server;

use std::{collections::HashMap, error::Error, fmt, net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout},
};

use self::{
    frames::FrameStream,
    link::{Link, Sender},
    relay::relay,
};
use crate::{
    Forwarding, Limit, ResponseBody,
    config::engine::EngineConfig,
    http::{
        body::{BodyError, collect},
        reply::Reply,
        websocket_handshake::{WebSocketKey, switching_protocols},
    },
    proto::{budget::Budget, forward::ForwardFrame},
    transport::{stream::Stream, upgrade::on_upgrade},
};

/// The protocol of a link, in the header `Upgrade`.
pub(crate) const PROTOCOL: &str = "engineio-forward";
/// The time to connect to another server, which is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum length of a response, which its server has limited.
const MAX_RESPONSE: usize = u32::MAX as usize;
/// The time between two reports that the body of a POST is arriving.
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(1);
/// The limits of a body. Their numbers are sent to other servers.
const LIMITS: [Limit; 3] = [Limit::MaxHttpBufferSize, Limit::BodyTimeout, Limit::MinBodyRate];
/// The headers of a WebSocket handshake that the server of the session reads. The server that the client has reached
/// has already checked the others, such as `Origin`.
const PASSED_ON: [HeaderName; 4] = [
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
];

/// Forwards requests to the other servers of the cluster.
pub(crate) struct Forwarder {
    forwarding: Forwarding,
    config: Arc<EngineConfig>,
    links: Mutex<HashMap<SocketAddr, Arc<Link>>>,
    /// The responses that clients have not read.
    budget: Arc<Budget>,
    /// Set to `true` when the engine closes.
    closing: watch::Sender<bool>,
}

/// The error that the server of a session cannot be reached.
#[derive(Debug)]
pub(crate) struct Unreachable(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Unreachable {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Forwarder {
    /// Returns the forwarder of an engine, or `None` if the engine does not forward requests.
    pub(crate) fn new(config: &Arc<EngineConfig>) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            forwarding: config.forwarding.clone()?,
            config: config.clone(),
            links: Mutex::default(),
            budget: Budget::new(config.max_buffered_total),
            closing: watch::Sender::new(false),
        }))
    }

    /// Ends each relayed WebSocket, and completes the pending polls of other servers, so that the clients poll
    /// through another server.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
        self.links.lock().values().filter_map(|link| link.connected()).for_each(|sender| sender.release());
    }

    /// Forwards a poll, or a POST whose body is complete. If the future is dropped, the other server closes the
    /// session, as if its own client had disconnected.
    pub(crate) fn request(
        self: &Arc<Self>,
        address: SocketAddr,
        frame: ForwardFrame<'_>,
    ) -> impl Future<Output = Result<Reply, Unreachable>> + Send + use<> {
        let pending = self.link(address).connected().map(|sender| sender.request(frame));
        let started = pending.ok_or_else(|| {
            let mut encoded = Vec::new();
            frame.encode(0, &mut encoded);
            (self.clone(), encoded)
        });
        async move {
            match started {
                Ok(pending) => pending?.await,
                // Boxed, because this path is rare and would enlarge the future.
                Err((forwarder, encoded)) => Box::pin(forwarder.connect_for(address, encoded)).await,
            }
        }
    }

    /// Connects to another server, and sends an encoded frame.
    async fn connect_for(
        self: Arc<Self>,
        address: SocketAddr,
        encoded: Vec<u8>,
    ) -> Result<Reply, Unreachable> {
        let sender = self.sender(address).await?;
        let decoded = ForwardFrame::decode(&encoded, encoded.len()).ok().flatten();
        let (_, _, frame) = decoded.ok_or("the frame is malformed")?;
        let pending = sender.request(frame)?;
        drop(encoded);
        pending.await
    }

    /// Forwards a POST when its body is complete.
    pub(crate) async fn post_streaming<B: Body>(
        self: &Arc<Self>,
        address: SocketAddr,
        query: &str,
        is_binary: bool,
        body: B,
    ) -> Result<Reply, Unreachable> {
        let sender = self.sender(address).await?;
        let failed = Failed { sender: &sender, query };
        let mut reported = Instant::now().into_std();
        let body = collect(body, &self.config, |now| {
            if now.duration_since(reported) > ACTIVITY_INTERVAL {
                reported = now;
                sender.notify(ForwardFrame::Active { query });
            }
        })
        .await;
        let frame = match &body {
            Ok(body) => ForwardFrame::Post { query, is_binary, body },
            Err(BodyError::Limit(limit)) => {
                let limit = LIMITS.iter().position(|each| each == limit).unwrap_or_default() as u8;
                ForwardFrame::PostRefused { query, limit }
            }
            Err(BodyError::Broken) => return Ok(Reply::refused(StatusCode::BAD_REQUEST)),
        };
        std::mem::forget(failed);
        self.request(address, frame).await
    }

    /// Returns the link to another server.
    fn link(&self, address: SocketAddr) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&address) {
            return link.clone();
        }
        // Servers come and go.
        links.retain(|_, link| link.is_used());
        links.entry(address).or_default().clone()
    }

    /// Returns the connection to another server.
    async fn sender(&self, address: SocketAddr) -> Result<Sender, Unreachable> {
        let link = self.link(address);
        link.sender(async || {
            let request = self.head(address, "/").header(header::UPGRADE, PROTOCOL);
            let response = send(address, request).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(format!("status {} instead of a connection", response.status()).into());
            }
            let upgraded: Upgraded = timeout(CONNECT_TIMEOUT, hyper::upgrade::on(response)).await??;
            let (stream, received) = Stream::from_upgraded(upgraded);
            let stream = FrameStream::new(stream, received, Vec::new(), MAX_RESPONSE);
            Ok(Sender::spawn(stream, address, self.budget.clone()))
        })
        .await
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
        let mut forwarded = self.head(address, target).header(header::UPGRADE, "websocket");
        for name in PASSED_ON {
            for value in parts.headers.get_all(&name) {
                forwarded = forwarded.header(&name, value);
            }
        }
        if key.is_http2() {
            let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
            forwarded = forwarded.header(header::SEC_WEBSOCKET_KEY, key);
        }
        let response = send(address, forwarded).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let (parts, body) = response.into_parts();
            let body = timeout(CONNECT_TIMEOUT, body.collect()).await??.to_bytes();
            let mut response = Response::new(body.into());
            *response.status_mut() = parts.status;
            *response.headers_mut() = without_connection_headers(parts.headers);
            return Ok(response);
        }
        let mut accepted = switching_protocols(&key, &parts.headers, None);
        if let Some(extensions) = response.headers().get(header::SEC_WEBSOCKET_EXTENSIONS) {
            accepted.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, extensions.clone());
        }
        on_upgrade(&mut parts.extensions, move |client| {
            let closing = self.closing.subscribe();
            Some(Box::pin(relay(client, hyper::upgrade::on(response), self.config.write_timeout, closing)))
        });
        Ok(accepted)
    }

    /// Returns the head of a request to another server.
    fn head(&self, address: SocketAddr, target: &str) -> request::Builder {
        Request::get(target)
            .header(header::HOST, address.to_string())
            .header(header::CONNECTION, "Upgrade")
            .header(header::AUTHORIZATION, self.forwarding.authorization().clone())
    }
}

/// Tells the other server that the body of a POST has not arrived completely, if the future of the POST is dropped or
/// its body is broken.
struct Failed<'a> {
    sender: &'a Sender,
    query: &'a str,
}

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        self.sender.notify(ForwardFrame::PostFailed { query: self.query });
    }
}

/// Sends a request over a new connection.
async fn send(address: SocketAddr, request: request::Builder) -> Result<Response<Incoming>, Unreachable> {
    let request = request.body(Empty::<Bytes>::new())?;
    timeout(CONNECT_TIMEOUT, async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender.send_request(request).await?)
    })
    .await?
}

/// Removes the headers that describe the connection between the servers.
fn without_connection_headers(mut headers: HeaderMap<HeaderValue>) -> HeaderMap<HeaderValue> {
    for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::DATE] {
        headers.remove(name);
    }
    headers
}
