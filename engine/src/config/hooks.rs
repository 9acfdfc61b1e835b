//! Application hooks for access control, session ids, response headers and rejected requests.

use std::{borrow::Cow, fmt, future::Future, pin::Pin, sync::Arc};

use http::{Extensions, HeaderMap, request::Parts};

use crate::{EngineConfig, Sid, error::ConnectionError};

/// The kind of request for which [`allow_request`](EngineConfig::allow_request) is called. The hook finds it
/// in the extensions of the request.
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
/// Copies the extension of one type.
pub(crate) type KeepExtension = fn(&Extensions, &mut Extensions);

/// The hooks of an engine, each set by a method of [`EngineConfig`]:
/// [`allow_request`](EngineConfig::allow_request), [`generate_id`](EngineConfig::generate_id),
/// [`initial_headers`](EngineConfig::initial_headers), [`headers`](EngineConfig::headers),
/// [`connection_error`](EngineConfig::connection_error) and [`keep_extension`](EngineConfig::keep_extension).
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) allow_request: Option<AllowRequest>,
    pub(crate) generate_id: Option<GenerateId>,
    pub(crate) initial_headers: Option<HeaderHook>,
    pub(crate) headers: Option<HeaderHook>,
    pub(crate) connection_error: Option<ErrorHook>,
    pub(crate) extensions: Vec<KeepExtension>,
}

impl Hooks {
    /// Returns `true` if no hook is set that requires the parts of the request before the request is
    /// executed.
    pub(crate) fn are_unset(&self) -> bool {
        // The engine calls `generate_id` and `extensions` when it opens a session.
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

/// Setters of the hooks. Setting a hook again replaces the earlier hook; only
/// [`keep_extension`](Self::keep_extension) accumulates. Hooks run in the task of the HTTP connection, so a
/// hook that blocks or panics affects that connection.
impl EngineConfig {
    /// Sets a hook that decides whether a client may connect. It is called for every request that opens a
    /// session, by long-polling or WebSocket, and for every WebSocket that upgrades a session. The extensions
    /// of the request contain the [`RequestKind`]. By default, every client may connect. Node.js calls this
    /// option `allowRequest`, and does not call it for upgrades.
    ///
    /// The hook is called after the engine's own checks. If it returns `Err`, the client receives status 403
    /// with the message, or with `Forbidden` if the message is empty, and no session is opened or upgraded.
    /// The hook is not called for polls and POSTs, because these requests are frequent and the session id
    /// proves that the client was allowed when the session was opened. Use a tower layer to derive data from
    /// the request, such as the user of a token, and to store it in the extensions. The server applies no
    /// timeout to the hook; only the timeout of the client applies.
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

    /// Sets a hook that returns the id of each new session. By default, the id is [random](Sid::random).
    /// Node.js calls this hook `generateId`.
    ///
    /// The id is a secret: a client that guesses the id of a session controls the session. A hook that
    /// encodes data in the id, such as the number of the server for a load balancer, should fill the rest
    /// from [`Sid::random`]. If another session already uses the id, the handshake is rejected with status
    /// 400 and code 3. The hook is called after `allow_request`. Asynchronous work belongs in a tower layer,
    /// which can store its result in the extensions of the request.
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
    /// long-polling, or the 101 of a WebSocket without a prior polling session. No hook is set by default.
    /// Equivalent to the event `initial_headers` in Node.js.
    ///
    /// The map is initially empty. Its headers replace headers of the same name in the response, except
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
    /// long-polling and for every 101. No hook is set by default. Equivalent to the event `headers` in
    /// Node.js.
    ///
    /// The hook runs before a poll waits for messages, after `initial_headers` and with the same map. Do not
    /// clone a value of the request: a clone would keep the whole request in memory while the poll waits.
    /// Create a new value instead.
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
    /// the extension with [`HandshakeRequest::extension`](crate::HandshakeRequest::extension). Typically, the
    /// extension is the result of a layer in front of the engine, such as the user of a cookie. This method
    /// may be called for several types.
    ///
    /// The value is cloned, and is dropped with the session. All other extensions are dropped with the
    /// response, because they hold memory that an idle session does not need. For example, a router stores
    /// parts of the request in the extensions, and these keep the read buffer of the connection alive.
    /// Equivalent to `socket.request` in Node.js.
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
    /// before the response is sent. Equivalent to the event `connection_error` in Node.js.
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
