//! Functions of the application that look at requests: who may connect, what responses carry, who was refused.

use std::{borrow::Cow, fmt, future::Future, pin::Pin, sync::Arc};

use http::{Extensions, HeaderMap, request::Parts};

use crate::{EngineConfig, Sid, error::ConnectionError};

/// What [`allow_request`](EngineConfig::allow_request) is asked about: an extension of the request.
///
/// # Examples
///
/// ```
/// use engineio::{EngineConfig, RequestKind};
/// use http::request::Parts;
///
/// /// Those who were let in stay in; nobody else comes in.
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
    /// It opens a session, over long-polling or over a WebSocket.
    Handshake,
    /// It is the handshake of a WebSocket that continues a polling session.
    Upgrade,
}

type Answer = Pin<Box<dyn Future<Output = Result<(), Cow<'static, str>>> + Send>>;
type AllowRequest = Arc<dyn Fn(Parts) -> Answer + Send + Sync>;
type HeaderHook = Arc<dyn Fn(&mut HeaderMap, &Parts) + Send + Sync>;
type GenerateId = Arc<dyn Fn(&Parts) -> Sid + Send + Sync>;
type ErrorHook = Arc<dyn Fn(&ConnectionError, &Parts) + Send + Sync>;
/// Copies the extension of one type.
pub(crate) type KeepExtension = fn(&Extensions, &mut Extensions);

/// The hooks of an engine, each set by a method of [`EngineConfig`]: [`allow_request`](EngineConfig::allow_request),
/// [`generate_id`](EngineConfig::generate_id), [`initial_headers`](EngineConfig::initial_headers),
/// [`headers`](EngineConfig::headers), [`connection_error`](EngineConfig::connection_error) and
/// [`keep_extension`](EngineConfig::keep_extension).
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
    /// Whether none is set: then requests need not be taken apart.
    pub(crate) fn are_unset(&self) -> bool {
        // The engine itself asks the others later.
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

/// Hooks: the last one of a kind counts. They run in the task of the HTTP connection, so one that blocks, or panics,
/// does so for that connection.
impl EngineConfig {
    /// Asks `hook` whether a client may connect: for every request that opens a session, by long-polling or by
    /// WebSocket, and for every WebSocket that is to take one over. Which of the two it is stands in the extensions of
    /// the request, as a [`RequestKind`]. Everyone may by default. Node: `allowRequest`, which is not asked about
    /// upgrades.
    ///
    /// The hook comes last, after what the engine itself checks. An `Err` is answered with status 403 and its
    /// message, `Forbidden` if that is empty; then there is no session and no upgrade. Polls and POSTs are not
    /// asked about: whoever knows the id of a session was let in when it was opened, and they come by the
    /// thousand. What the hook reads from the request, such as the user behind a token, tower layers can leave in
    /// the extensions. There is no time limit but the client's patience.
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

    /// Lets `hook` choose the id of each new session. By default it is [random](Sid::random). Node: `generateId`.
    ///
    /// The id is a secret: whoever guesses one has the session. A hook that puts something into it, such as the number
    /// of the server for a load balancer to read, leaves the rest to [`Sid::random`]. An id that another session has
    /// is refused with status 400 and code 3. The hook comes after `allow_request`; what takes time, a tower layer can
    /// do before, and leave in the extensions of the request.
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

    /// Lets `hook` add headers to the response that opens a session: the first of long-polling, or the 101 of a
    /// WebSocket that starts without. None by default. Node: the event `initial_headers`.
    ///
    /// The map is empty at first. What it holds in the end replaces headers of the same name in the response;
    /// `Set-Cookie` and `Vary` are added to those.
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

    /// As [`initial_headers`](Self::initial_headers), for every successful response to a GET or POST of long-polling
    /// and for every 101. None by default. Node: the event `headers`.
    ///
    /// The hook runs before a poll waits for messages, after `initial_headers` and with the same map. A value that
    /// is cloned from the request would keep all of it in memory while the poll waits: make a new one.
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

    /// Keeps the extension of type `T` of the request that opens a session, for the application to read with
    /// [`HandshakeRequest::extension`](crate::HandshakeRequest::extension): what a layer in front of the engine has found out, such
    /// as the user behind a cookie. May be called for several types.
    ///
    /// The value is cloned, and dropped with the session. All others are dropped as soon as the request is answered,
    /// because they hold on to memory that an idle session does not need: a router, for example, leaves parts of the
    /// request there, and with them the read buffer of the connection. Node: `socket.request`.
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

    /// Tells `hook` of every request that is refused with a [`RequestError`](crate::RequestError), before the client
    /// hears of it. Node: the event `connection_error`.
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
