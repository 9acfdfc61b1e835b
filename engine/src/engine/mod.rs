//! The engine, which executes the intent of each request, starts one task per session, and closes all
//! sessions at shutdown.
//!
//! The folder connects the layers below it, and contains the tower service. It may import `forward`, `http`, `session`,
//! `transport`, `config`, `metrics`, `proto`, `error` and `shrink`, but not `listen`, because an engine also
//! runs behind other servers, without the accept loop.

#[cfg(feature = "forwarding")]
mod forwarding;
pub(crate) mod service;
pub(crate) mod shutdown;

use std::{collections::VecDeque, fmt, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use memchr::memchr;

#[cfg(feature = "forwarding")]
use crate::forward::Forwarder;
use crate::{
    ConnectionError, HandshakeRequest, RequestError, ResponseBody,
    config::engine::EngineConfig,
    engine::{
        service::{BoxFuture, Shortcut},
        shutdown::Shutdown,
    },
    http::{
        coding::AcceptedCoding,
        filter::{Rejection, RequestFilter},
        permessage_deflate,
        reply::{
            Content, RETRY_AFTER_OVERLOAD, Reply, rejection, retry_later, shutting_down, status,
            too_many_handshakes, with_cookie,
        },
        request::Intent,
        session_request::{check_post, poll, post, submit},
        view::{RequestHead as _, RequestView},
        websocket_handshake::{WebSocketKey, switching_protocols},
    },
    metrics::{
        limits::Limit,
        traffic::{MessageCounter, Traffic},
    },
    proto::{
        dialect::Dialect,
        frame::Frame,
        packet::TransportKind,
        payload::{Payload, PayloadWriter},
        sid::Sid,
    },
    session::{
        admission::AdmissionGuard,
        application::Application,
        driver::Driver,
        mailbox::{Command, SessionHandle},
        shared::Shared,
    },
    transport::{polling, redundant, upgrade::on_upgrade, websocket::WebSocket},
};

/// An Engine.IO server for an [`Application`]. This type is a handle that is cheap to clone, and a tower
/// service.
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, task::Context};
/// # use engineio::{Application, CloseReason, Connection, Message, HandshakeRequest, SessionHandle};
/// # struct Echo;
/// # struct Quiet;
/// # impl Application for Echo {
/// #     type Connection = Quiet;
/// #     fn on_connect(&self, _: SessionHandle, _: Arc<HandshakeRequest>) -> Quiet { Quiet }
/// # }
/// # impl Connection for Quiet {
/// #     fn on_message(&mut self, _: Message<'_>, _: &mut Context<'_>) {}
/// #     fn on_close(&mut self, _: CloseReason) {}
/// # }
/// use engineio::{Engine, EngineConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let engine = Engine::new(Echo, EngineConfig::default());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// tokio::spawn(engineio::serve(listener, engine.clone()).into_future());
/// assert_eq!(engine.session_count(), 0);
/// # Ok(())
/// # }
/// ```
pub struct Engine<A: Application> {
    shared: Arc<Shared<A>>,
    #[cfg(feature = "forwarding")]
    forwarder: Option<Arc<Forwarder>>,
}

impl<A: Application> Engine<A> {
    /// Creates an engine.
    ///
    /// # Panics
    ///
    /// Panics if the configuration is invalid: an interval,
    /// [`max_pending_sessions`](EngineConfig::max_pending_sessions) or a timeout other than
    /// [`close_timeout`](EngineConfig::close_timeout) and
    /// [`shutdown_timeout`](EngineConfig::shutdown_timeout) is zero, there are no transports, browsers
    /// would discard the cookie, or compression has an invalid level or window.
    #[track_caller]
    pub fn new(application: A, config: EngineConfig) -> Self {
        assert!(!config.ping_interval.is_zero(), "ping_interval must not be zero");
        assert!(!config.ping_timeout.is_zero(), "ping_timeout must not be zero");
        assert!(!config.upgrade_timeout.is_zero(), "upgrade_timeout must not be zero");
        assert!(!config.write_timeout.is_zero(), "write_timeout must not be zero");
        assert!(!config.message_timeout.is_zero(), "message_timeout must not be zero");
        assert!(!config.body_timeout.is_zero(), "body_timeout must not be zero");
        assert!(!config.slow_consumer_grace.is_zero(), "slow_consumer_grace must not be zero");
        assert!(!config.read_pause_timeout.is_zero(), "read_pause_timeout must not be zero");
        assert!(config.max_pending_sessions > 0, "max_pending_sessions must not be zero");
        assert!(!config.transports.is_empty(), "transports must name at least one transport");
        #[cfg(feature = "compression")]
        crate::config::compression::check(&config);
        if let Some(cookie) = &config.cookie {
            cookie.check();
        }
        let shared = Arc::new(Shared::new(application, config));
        Self {
            #[cfg(feature = "forwarding")]
            forwarder: Forwarder::new(&shared.config),
            shared,
        }
    }

    /// Returns the number of open sessions.
    pub fn session_count(&self) -> usize {
        self.shared.registry.len()
    }

    /// Returns the number of times that a limit was hit since the engine was created.
    pub fn limit_hits(&self, limit: Limit) -> u64 {
        self.shared.limits.hits(limit)
    }

    /// Returns the number of messages that were dropped because a client did not read them, while the session
    /// continued. Messages are dropped by a [`SlowConsumerPolicy`](crate::SlowConsumerPolicy), or because
    /// they are [volatile](SessionHandle::send_volatile). Messages that were sent together count as one.
    /// Messages that are still queued when a session closes do not count.
    pub fn dropped_messages(&self) -> u64 {
        self.shared.limits.dropped()
    }

    /// Returns the counts of sessions and messages since the engine was created. Messages are counted only while there is
    /// a [`MessageCounter`].
    pub fn traffic(&self) -> Traffic {
        self.shared.limits.traffic.snapshot()
    }

    /// Counts messages for [`traffic`](Self::traffic), until all returned values are dropped. By default, they are not
    /// counted, because all threads share the counters.
    pub fn count_messages(&self) -> MessageCounter {
        MessageCounter::new(self.shared.limits.clone())
    }

    /// Returns the application.
    pub fn application(&self) -> &A {
        &self.shared.application
    }

    /// Returns the configuration.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// Rejects new sessions with status 503 from now on. Open sessions continue. Call this before
    /// [`close`](Self::close) to give a load balancer the time to send new clients to other servers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use engineio::{Application, Engine};
    /// async fn end<A: Application>(engine: &Engine<A>) {
    ///     engine.drain();
    ///     tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    ///     engine.close().await;
    /// }
    /// ```
    pub fn drain(&self) {
        self.shared.set_closing();
    }

    /// Returns `true` if new sessions are rejected, because [`drain`](Self::drain) or [`close`](Self::close) was
    /// called.
    pub fn is_closing(&self) -> bool {
        self.shared.is_closing()
    }

    /// Closes all sessions with
    /// [`CloseReason::ServerShuttingDown`](crate::CloseReason::ServerShuttingDown), and returns when all their tasks have
    /// ended. Messages that were sent before are still delivered. After this call, new sessions are rejected
    /// with status 503.
    ///
    /// WebSocket sessions are closed over the time of
    /// [`shutdown_spread`](EngineConfig::shutdown_spread), zero by default. Tasks that still run
    /// [`shutdown_timeout`](EngineConfig::shutdown_timeout) after the last session was closed are
    /// aborted; their handlers are dropped at the point where they wait.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown continues in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # use engineio::{Application, Engine};
    /// async fn end<A: Application>(engine: &Engine<A>) {
    ///     let shutdown = engine.close().await;
    ///     println!("{} sessions were told, {} took too long", shutdown.sessions, shutdown.aborted);
    /// }
    /// ```
    pub async fn close(&self) -> Shutdown {
        self.shared.set_closing();
        #[cfg(feature = "forwarding")]
        if let Some(forwarder) = &self.forwarder {
            forwarder.close();
        }
        let shared = self.shared.clone();
        let task = tokio::spawn(async move { shutdown::close(&*shared).await });
        // The task fails only when its runtime shuts down, which also drops all sessions.
        task.await.unwrap_or_default()
    }

    /// Handles one request. The path is not checked.
    ///
    /// While a poll waits, the engine keeps only the data of the request that the response requires.
    ///
    /// # Cancel safety
    ///
    /// If the future of a poll or a POST is dropped, the session is closed, because the engine assumes that
    /// the client has disconnected.
    pub fn handle<B>(&self, request: Request<B>) -> BoxFuture<Response<ResponseBody>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        if self.shared.config.hooks.are_unset() {
            let (filter, intent) = RequestFilter::check(&self.shared, &request);
            return self.proceed(filter, request, intent);
        }
        let engine = self.clone();
        Box::pin(async move {
            let (filter, request, intent) = RequestFilter::check_with_hooks(&engine.shared, request).await;
            engine.proceed(filter, request, intent).await
        })
    }

    /// Returns a shortcut that responds to ordinary polls and POSTs for open sessions.
    pub(crate) fn shortcut(&self) -> Shortcut {
        let engine = self.clone();
        Box::new(move |request| engine.answer_view(request))
    }

    fn answer_view(&self, request: &RequestView<'_>) -> Option<BoxFuture<Reply>> {
        let config = &self.shared.config;
        // A fragment is not part of the query.
        let has_fragment = memchr(b'#', request.query.as_bytes()).is_some();
        if has_fragment || request.body.len() > config.max_http_buffer_size {
            return None;
        }
        let (filter, intent) = RequestFilter::check_view(&self.shared, request)?;
        let is_text = |value: &[u8]| value != Content::Binary.as_str().as_bytes();
        Some(match intent {
            Intent::Poll(session, id) => {
                Box::pin(async move { filter.finish_reply(poll(&session, id).await) })
            }
            Intent::Post(session) if request.values(&header::CONTENT_TYPE).all(is_text) => {
                let payload = Payload::new(request.body, session.dialect(), false);
                Box::pin(
                    async move { filter.finish_reply(Reply::post_response(submit(&session, payload).await)) },
                )
            }
            #[cfg(feature = "forwarding")]
            Intent::Forward(address, None) if request.values(&header::CONTENT_TYPE).all(is_text) => {
                self.forward_view(filter, request, address)
            }
            _ => return None,
        })
    }

    /// Executes the intent of a checked request, either immediately or in a future that holds only the
    /// required data.
    fn proceed<B>(
        &self,
        filter: RequestFilter,
        mut request: Request<B>,
        intent: Result<Intent, Rejection>,
    ) -> BoxFuture<Response<ResponseBody>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let response = match intent {
            Ok(Intent::Open(_) | Intent::OpenWebSocket(..)) if self.is_closing() => shutting_down(),
            Ok(Intent::Open(dialect)) => match AdmissionGuard::new(&self.shared, request.extensions()) {
                Ok(admission) => self.open(admission, dialect, &request.into_parts().0),
                Err(limit) => self.reject(limit),
            },
            Ok(Intent::OpenWebSocket(key, dialect)) => {
                match AdmissionGuard::new(&self.shared, request.extensions()) {
                    Ok(admission) => self.open_websocket(admission, &key, dialect, request.into_parts().0),
                    Err(limit) => self.reject(limit),
                }
            }
            Ok(Intent::Poll(session, id)) => {
                let coding = AcceptedCoding::from_headers(request.headers(), &self.shared.config);
                return Box::pin(async move {
                    let response = poll(&session, id).await.into();
                    filter.finish_response(match coding {
                        Some(coding) => Box::pin(coding.apply(response)).await,
                        None => response,
                    })
                });
            }
            Ok(Intent::Post(session)) => {
                let config = self.shared.config.clone();
                let is_binary = is_binary(request.headers());
                match check_post(&session, is_binary, request.body().size_hint().lower(), &config) {
                    Ok(()) => {
                        let body = request.into_body();
                        return Box::pin(async move {
                            filter.finish_response(post(&session, body, is_binary, &config).await.into())
                        });
                    }
                    Err(refused) => refused.into(),
                }
            }
            Ok(Intent::Upgrade(session, key, dialect)) => {
                let deflate = permessage_deflate::negotiate(request.headers(), &self.shared.config);
                let response = switching_protocols(&key, request.headers(), deflate);
                on_upgrade(request.extensions_mut(), move |parts| {
                    let websocket = WebSocket::new(parts, dialect, deflate);
                    session.command(Command::Probe(Box::new(websocket)));
                    None
                });
                response
            }
            Ok(Intent::UpgradedAlready(key, dialect)) => {
                let response = switching_protocols(&key, request.headers(), None);
                let timeout = self.shared.config.close_timeout;
                on_upgrade(request.extensions_mut(), move |parts| {
                    Some(redundant::close(parts, dialect, timeout))
                });
                response
            }
            #[cfg(feature = "forwarding")]
            Ok(Intent::Forward(address, key)) => return self.forward(filter, request, address, key),
            Ok(Intent::Unsupported) => status(StatusCode::INTERNAL_SERVER_ERROR),
            Err(refused) => refused.response(&self.shared.limits.metrics),
        };
        Box::pin(std::future::ready(filter.finish_response(response)))
    }

    /// Returns the response to a handshake that exceeds a limit.
    fn reject(&self, limit: Limit) -> Response<ResponseBody> {
        self.shared.limits.hit(limit);
        let status = match limit {
            Limit::MaxPipelinedHandshakes => return too_many_handshakes(),
            Limit::MaxSessionsPerAddress => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        retry_later(status, RETRY_AFTER_OVERLOAD)
    }

    /// Opens a session over long-polling.
    fn open(
        &self,
        admission: AdmissionGuard<A>,
        dialect: Dialect,
        request: &http::request::Parts,
    ) -> Response<ResponseBody> {
        let Some(sid) = self.generate_id(request) else { return self.id_taken(request) };
        let session = self.session(sid, TransportKind::Polling, dialect);
        let cookie = self.cookie(&sid);
        let handshake = self.shared.config.open_packet(&sid, TransportKind::Polling).encode();
        let connection = self.shared.application.on_connect(session.clone(), self.handshake_request(request));
        let Some(driver) = Driver::new(admission, session, connection, None) else {
            return self.id_taken(request);
        };
        tokio::spawn(driver.run());
        let initial: VecDeque<Frame> = self.shared.config.initial_packet.iter().cloned().collect();
        self.shared.limits.sent(&initial);
        let mut payload = PayloadWriter::new(dialect, &initial);
        payload.push_control(format!("0{handshake}").as_bytes());
        for frame in &initial {
            payload.push(frame);
        }
        let packets = polling::PollResponse { body: payload.into_body(), charge: None };
        with_cookie(Reply::packets(dialect, packets).into(), cookie)
    }

    /// Opens a session over WebSocket. The session starts when the connection has been upgraded.
    fn open_websocket(
        &self,
        admission: AdmissionGuard<A>,
        key: &WebSocketKey,
        dialect: Dialect,
        mut request: http::request::Parts,
    ) -> Response<ResponseBody> {
        let Some(sid) = self.generate_id(&request) else { return self.id_taken(&request) };
        let deflate = permessage_deflate::negotiate(&request.headers, &self.shared.config);
        let response = switching_protocols(key, &request.headers, deflate);
        let handshake_request = self.handshake_request(&request);
        let engine = self.clone();
        on_upgrade(&mut request.extensions, move |parts| {
            let websocket = WebSocket::new(parts, dialect, deflate);
            engine.start_websocket(admission, sid, dialect, websocket, handshake_request).map(Driver::run)
        });
        with_cookie(response, self.cookie(&sid))
    }

    fn start_websocket(
        &self,
        admission: AdmissionGuard<A>,
        sid: Sid,
        dialect: Dialect,
        mut websocket: WebSocket,
        request: Arc<HandshakeRequest>,
    ) -> Option<Driver<A>> {
        let session = self.session(sid, TransportKind::WebSocket, dialect);
        let handshake = self.shared.config.open_packet(session.id(), TransportKind::WebSocket).encode();
        websocket.queue_control(Frame::open(&handshake));
        if let Some(frame) = &self.shared.config.initial_packet {
            // The queue of a new session accepts a message of any size.
            let _ = session.send(std::slice::from_ref(frame));
        }
        let connection = self.shared.application.on_connect(session.clone(), request);
        Driver::new(admission, session, connection, Some(websocket))
    }

    /// Returns the parts of the handshake request that the session keeps.
    fn handshake_request(&self, request: &http::request::Parts) -> Arc<HandshakeRequest> {
        Arc::new(HandshakeRequest::with_extensions(request, &self.shared.config.hooks.extensions))
    }

    /// Returns an id for a new session, or `None` if another session uses the id returned by the hook.
    fn generate_id(&self, request: &http::request::Parts) -> Option<Sid> {
        match &self.shared.config.hooks.generate_id {
            None => Some(Sid::random()),
            Some(hook) => Some(hook(request)).filter(|sid| !self.shared.registry.contains(sid)),
        }
    }

    fn id_taken(&self, request: &http::request::Parts) -> Response<ResponseBody> {
        let error = ConnectionError::from(RequestError::IdTaken);
        if let Some(hook) = &self.shared.config.hooks.connection_error {
            hook(&error, request);
        }
        rejection(&error)
    }

    fn cookie(&self, sid: &Sid) -> Option<HeaderValue> {
        self.shared.config.cookie.as_ref()?.header_value(sid)
    }

    fn session(&self, sid: Sid, transport: TransportKind, dialect: Dialect) -> SessionHandle {
        SessionHandle::new(sid, transport, dialect, self.shared.outbound.clone())
    }
}

impl<A: Application> Clone for Engine<A> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            #[cfg(feature = "forwarding")]
            forwarder: self.forwarder.clone(),
        }
    }
}

impl<A: Application> fmt::Debug for Engine<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("sessions", &self.session_count()).finish_non_exhaustive()
    }
}

/// Returns `true` if the body of a POST is binary.
fn is_binary(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value == Content::Binary.as_str())
}
