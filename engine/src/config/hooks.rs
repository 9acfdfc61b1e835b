//! Application hooks that inspect requests: access control, response headers, rejected requests.

use std::{borrow::Cow, fmt, future::Future, pin::Pin, sync::Arc};

use http::{Extensions, HeaderMap, request::Parts};

use crate::{EngineConfig, Sid, error::ConnectionError};

/// The kind of request that [`allow_request`](EngineConfig::allow_request) decides about: an extension of the
/// request.
///
/// # Examples
///
/// ```
/// use engineio::{EngineConfig, RequestKind};
/// use http::request::Parts;
///
/// /// Allows upgrades of existing sessions, and no new sessions.
/// async fn is_open(request: Parts) -> Result<(), &'static str> {
///     match request.extensions.get() {
///         Some(RequestKind::Upgrade) => Ok(()),
///         _ => Err("closed for today"),
///     }
/// }
/// let config = EngineConfig::default().allow_request(is_open);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// A request that opens a session, over long-polling or WebSocket.
    Handshake,
    /// The handshake of a WebSocket that continues a polling session.
    Upgrade,
}

type Answer = Pin<Box<dyn Future<Output = Result<(), Cow<'static, str>>> + Send>>;
type AllowRequest = Arc<dyn Fn(Parts) -> Answer + Send + Sync>;
type HeaderHook = Arc<dyn Fn(&mut HeaderMap, &Parts) + Send + Sync>;
type GenerateId = Arc<dyn Fn(&Parts) -> Sid + Send + Sync>;
type ErrorHook = Arc<dyn Fn(&ConnectionError, &Parts) + Send + Sync>;
/// A function that copies the extension of one type.
pub(crate) type KeepExtension = fn(&Extensions, &mut Extensions);

/// The hooks of an engine, each set by a method of [`EngineConfig`]:
/// [`allow_request`](EngineConfig::allow_request), [`generate_id`](EngineConfig::generate_id),
/// [`initial_headers`](EngineConfig::initial_headers), [`headers`](EngineConfig::headers),
/// [`connection_error`](EngineConfig::connection_error) and [`keep_extension`](EngineConfig::keep_extension).
#[derive(Clone, Default)]
pub struct Hooks {
    pub(crate) allow_request: Option<AllowRequest>,
    pub(crate) generate_id: Option<GenerateId>,
    pub(crate) initial_headers: Option<HeaderHook>,
    pub(crate) headers: Option<HeaderHook>,
    pub(crate) connection_error: Option<ErrorHook>,
    pub(crate) extensions: Vec<KeepExtension>,
}

impl Hooks {
    /// Returns `true` if no hook is set that needs the parts of the request.
    pub(crate) fn are_unset(&self) -> bool {
        // The engine calls the other hooks later.
        let Self { allow_request, generate_id: _, initial_headers, headers, connection_error, extensions: _ } =
            self;
        allow_request.is_none()
            && initial_headers.is_none()
            && headers.is_none()
            && connection_error.is_none()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("allow_request", &self.allow_request.is_some())
            .field("generate_id", &self.generate_id.is_some())
            .field("initial_headers", &self.initial_headers.is_some())
            .field("headers", &self.headers.is_some())
            .field("connection_error", &self.connection_error.is_some())
            .field("extensions", &self.extensions.len())
            .finish()
    }
}

/// Hooks. Setting a hook again replaces the earlier one; only
/// [`keep_extension`](Self::keep_extension) accumulates. Hooks run in the task of the HTTP connection, so one
/// that blocks or panics affects that connection.
impl EngineConfig {
    /// Sets a hook that decides whether a client may connect. It is called for every request that opens a
    /// session, by long-polling or WebSocket, and for every WebSocket that upgrades one; a [`RequestKind`] in
    /// the extensions of the request tells which. By default, every client may connect. Node: `allowRequest`,
    /// which is not called for upgrades.
    ///
    /// The hook is called after the engine's own checks. If it returns `Err`, the client gets status 403 with
    /// its message, or `Forbidden` if the message is empty, and there is no session and no upgrade. The hook
    /// is not called for polls and POSTs: the session id proves that the client was allowed when the session
    /// was opened, and these requests are frequent. Data that the hook derives from the request, such as the
    /// user of a token, is better left in the extensions by a tower layer. There is no timeout except the
    /// client's own.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::EngineConfig;
    /// use http::request::Parts;
    ///
    /// async fn is_known(request: Parts) -> Result<(), &'static str> {
    ///     match request.headers.get("x-api-key") {
    ///         Some(key) if key == "secret" => Ok(()),
    ///         _ => Err("unknown api key"),
    ///     }
    /// }
    /// let config = EngineConfig::default().allow_request(is_known);
    /// ```
    #[must_use]
    pub fn allow_request<F, Fut, E>(mut self, hook: F) -> Self
    where
        F: FnOnce(Parts) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Cow<'static, str>>,
    {
        self.hooks.allow_request = Some(Arc::new(move |request| {
            let answer = hook.clone()(request);
            Box::pin(async move { answer.await.map_err(Into::into) })
        }));
        self
    }

    /// Sets a hook that returns the id of each new session. By default the id is [random](Sid::random). Node:
    /// `generateId`.
    ///
    /// The id is a secret: a client that guesses one controls the session. A hook that encodes something in
    /// it, such as the number of the server for a load balancer, should take the rest from [`Sid::random`].
    /// An id that another session has is rejected with status 400 and code 3. The hook is called after
    /// `allow_request`. Asynchronous work belongs in a tower layer, which can leave its result in the
    /// extensions of the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::{EngineConfig, Sid};
    ///
    /// const SERVER: &str = "b7";
    /// let config = EngineConfig::default().generate_id(|_request| {
    ///     let random = Sid::random();
    ///     Sid::parse(&format!("{SERVER}{}", &random.as_str()[SERVER.len()..])).unwrap_or(random)
    /// });
    /// ```
    #[must_use]
    pub fn generate_id(mut self, hook: impl Fn(&Parts) -> Sid + Send + Sync + 'static) -> Self {
        self.hooks.generate_id = Some(Arc::new(hook));
        self
    }

    /// Sets a hook that adds headers to the response that opens a session: the first response of
    /// long-polling, or the 101 of a WebSocket without a prior polling session. None by default. Node: the
    /// event `initial_headers`.
    ///
    /// The map is initially empty. Its headers replace those of the same name in the response, except
    /// `Set-Cookie` and `Vary`, which are appended.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::EngineConfig;
    /// use http::{HeaderValue, header};
    ///
    /// let config = EngineConfig::default().initial_headers(|headers, _request| {
    ///     headers.append(header::SET_COOKIE, HeaderValue::from_static("server=blue; Path=/"));
    /// });
    /// ```
    #[must_use]
    pub fn initial_headers(mut self, hook: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.hooks.initial_headers = Some(Arc::new(hook));
        self
    }

    /// Like [`initial_headers`](Self::initial_headers), but for every successful response to a GET or POST of
    /// long-polling and for every 101. None by default. Node: the event `headers`.
    ///
    /// The hook runs before a poll waits for messages, after `initial_headers` and with the same map. A value
    /// cloned from the request would keep the whole request in memory while the poll waits: create a new
    /// value instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::EngineConfig;
    /// use http::HeaderValue;
    ///
    /// let config = EngineConfig::default().headers(|headers, request| {
    ///     let over_http_2 = request.version == http::Version::HTTP_2;
    ///     headers.insert("x-http-2", HeaderValue::from(u16::from(over_http_2)));
    /// });
    /// ```
    #[must_use]
    pub fn headers(mut self, hook: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.hooks.headers = Some(Arc::new(hook));
        self
    }

    /// Keeps the extension of type `T` of the request that opens a session, so that the application can read
    /// it with [`HandshakeRequest::extension`](crate::HandshakeRequest::extension): typically the result of a
    /// layer in front of the engine, such as the user of a cookie. May be called for several types.
    ///
    /// The value is cloned, and dropped with the session. All other extensions are dropped with the response,
    /// because they hold memory that an idle session does not need: a router, for example, stores parts of
    /// the request there, which keep the read buffer of the connection alive. Node: `socket.request`.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::EngineConfig;
    ///
    /// #[derive(Clone)]
    /// struct User { name: String }
    ///
    /// let config = EngineConfig::default().keep_extension::<User>();
    /// ```
    #[must_use]
    pub fn keep_extension<T: Clone + Send + Sync + 'static>(mut self) -> Self {
        self.hooks.extensions.push(|from, to| {
            if let Some(value) = from.get::<T>() {
                to.insert(value.clone());
            }
        });
        self
    }

    /// Sets a hook that is called for every request rejected with a [`RequestError`](crate::RequestError),
    /// before the response is sent. Node: the event `connection_error`.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::EngineConfig;
    ///
    /// let config = EngineConfig::default().connection_error(|error, request| {
    ///     eprintln!("{} {}: {:?}, {}", request.method, request.uri, error.error, error.message);
    /// });
    /// ```
    #[must_use]
    pub fn connection_error(
        mut self,
        hook: impl Fn(&ConnectionError, &Parts) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.connection_error = Some(Arc::new(hook));
        self
    }
}
