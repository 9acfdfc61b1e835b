//! The handshake of a client with a namespace, and the error that rejects a client.

use std::{borrow::Cow, error::Error, fmt, net::SocketAddr, str::FromStr, sync::Arc, time::SystemTime};

use engineio::HandshakeRequest;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    event::error::{EventError, public_message},
    proto::leniency,
};

/// The request of a client to connect to a namespace. Cheap to clone.
///
/// The headers, the query and the address come from the HTTP request that opened the connection, and are the
/// same in all namespaces of the connection. Equivalent to `socket.handshake` in Node.js.
///
/// # Examples
///
/// ```
/// use socketio::{Handshake, Namespace, ConnectError};
///
/// struct User { name: String }
///
/// async fn sign_in(handshake: Handshake) -> Result<User, ConnectError> {
///     Ok(User { name: handshake.auth()? })
/// }
/// let chat = Namespace::with_auth("/chat", sign_in);
/// ```
#[derive(Clone)]
pub struct Handshake(Arc<Inner>);

struct Inner {
    request: Arc<HandshakeRequest>,
    auth: Option<Box<str>>,
    time: SystemTime,
    params: Params,
}

/// The parameters in the path of a dynamic namespace, as pairs of name and value.
pub(crate) type Params = Box<[(Box<str>, Box<str>)]>;

impl Handshake {
    pub(crate) fn new(request: Arc<HandshakeRequest>, auth: &str) -> Self {
        let auth = (!auth.is_empty()).then(|| auth.into());
        Self(Arc::new(Inner { request, auth, time: SystemTime::now(), params: Params::default() }))
    }

    /// Creates the handshake of a socket on another server.
    #[cfg(feature = "msgpack")]
    pub(crate) fn remote(request: HandshakeRequest, auth: &str, time: SystemTime) -> Self {
        let params = Params::default();
        Self(Arc::new(Inner { request: Arc::new(request), auth: Some(auth.into()), time, params }))
    }

    /// Returns a copy of the handshake with the parameters of a dynamic namespace.
    pub(crate) fn with_params(&self, params: Params) -> Self {
        let Inner { request, auth, time, .. } = &*self.0;
        Self(Arc::new(Inner { request: request.clone(), auth: auth.clone(), time: *time, params }))
    }

    /// Parses a parameter in the path of a [dynamic namespace](crate::Server::dynamic).
    ///
    /// # Errors
    ///
    /// Returns the error `Invalid namespace` if the path has no such parameter, or if the parameter does not
    /// parse as a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Handshake, Namespace, ConnectError, Server};
    ///
    /// struct Player { game: u64 }
    ///
    /// async fn sit_down(handshake: Handshake) -> Result<Player, ConnectError> {
    ///     Ok(Player { game: handshake.param("id")? })
    /// }
    /// let io = Server::new().dynamic(Namespace::with_auth("/game-{id}", sit_down));
    /// ```
    pub fn param<T: FromStr>(&self, name: &str) -> Result<T, ConnectError> {
        let mut params = self.params();
        let value = params.find(|(other, _)| *other == name).and_then(|(_, value)| value.parse().ok());
        value.ok_or_else(|| ConnectError::new("Invalid namespace"))
    }

    /// Returns all parameters in the path of a dynamic namespace, with their names, from left to right.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.params.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Decodes the `auth` payload of the client. If the client sent no payload, decodes `{}`.
    ///
    /// # Errors
    ///
    /// Returns an error with a message for the client if the payload is not a `T`.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, ConnectError> {
        leniency::from_str(self.auth_json().unwrap_or("{}"))
            .map_err(|error| ConnectError::new(format!("invalid auth: {error}")))
    }

    /// Returns the `auth` payload of the client as the text of a JSON object, or `None` if the client sent no
    /// payload.
    pub fn auth_json(&self) -> Option<&str> {
        self.0.auth.as_deref()
    }

    /// Returns the value of the first header with this name. Names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.request.header(name)
    }

    /// Returns all headers, with names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.request.headers()
    }

    /// Returns the value of the query parameter with this name. If the parameter is repeated, returns the
    /// last value.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.request.query(name)
    }

    /// Returns all query parameters, including the parameters of the Engine.IO protocol.
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.0.request.queries()
    }

    /// Returns an extension that a tower layer in front of the server added to the HTTP request that opened
    /// the connection, such as a session or an authenticated user. The extension is available on every
    /// transport and in all namespaces.
    ///
    /// The server keeps an extension for the lifetime of the connection if its type is registered with
    /// [`EngineConfig::keep_extension`](crate::EngineConfig::keep_extension). Returns `None` if the type is
    /// not registered or if no layer has set the extension. In Node.js, such values are properties of
    /// `socket.request`.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Extension, Router};
    /// use socketio::{EngineConfig, Handshake, Namespace, ConnectError, Server, ServerConfig};
    ///
    /// #[derive(Clone)]
    /// struct User { name: String }
    ///
    /// async fn sign_in(handshake: Handshake) -> Result<User, ConnectError> {
    ///     Ok(handshake.extension::<User>().cloned().ok_or("not signed in")?)
    /// }
    ///
    /// let engine = EngineConfig::default().keep_extension::<User>();
    /// let io = Server::with_config(ServerConfig::default().engine(engine))
    ///     .namespace(Namespace::with_auth("/", sign_in));
    /// // Stands in for a layer that queries a database.
    /// let layer = Extension(User { name: "Ann".into() });
    /// let app: Router = Router::new().route_service("/socket.io/", io).layer(layer);
    /// ```
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let extension = self.0.request.extension();
        if extension.is_none() {
            let wanted = std::any::type_name::<T>();
            tracing::debug!(
                wanted,
                "no such extension: no layer set it, or `EngineConfig::keep_extension` does not name it"
            );
        }
        extension
    }

    /// Returns the path and the query of the HTTP request.
    pub fn url(&self) -> &str {
        self.0.request.url()
    }

    /// Returns the address of the client, if known. If the client connects through a proxy, returns the
    /// address of the proxy.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.request.address()
    }

    /// Returns the time at which the CONNECT packet arrived. Equivalent to `issued` in Node.js.
    pub fn issued(&self) -> SystemTime {
        self.0.time
    }

    /// Returns [`issued`](Self::issued) as JavaScript writes a date in UTC. Equivalent to `time` in Node.js.
    ///
    /// # Examples
    ///
    /// ```
    /// fn log(handshake: &socketio::Handshake) {
    ///     // Fri Nov 20 2026 23:47:56 GMT+0000 (Coordinated Universal Time)
    ///     println!("{}", handshake.time());
    /// }
    /// ```
    pub fn time(&self) -> String {
        // `Fri, 20 Nov 2026 23:47:56 GMT`
        let date = httpdate::fmt_http_date(self.0.time);
        let parts: Vec<&str> = date.split(' ').collect();
        let [weekday, day, month, year, clock, _] = parts[..] else { return date };
        let weekday = weekday.trim_end_matches(',');
        format!("{weekday} {month} {day} {year} {clock} GMT+0000 (Coordinated Universal Time)")
    }

    /// Returns `true` if the HTTP request arrived over TLS. TLS in front of a proxy or of another server is
    /// detected only if a layer marks the request with [`Secure`](crate::Secure).
    pub fn secure(&self) -> bool {
        self.0.request.secure()
    }

    /// Returns `true` if the HTTP request has an `Origin` header. Equivalent to `xdomain` in Node.js.
    pub fn cross_domain(&self) -> bool {
        self.header("origin").is_some()
    }
}

impl fmt::Debug for Handshake {
    /// Omits the `auth` payload and the headers, because they contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// The error that rejects a connection to a namespace. The client receives the error as `connect_error`.
///
/// `?` converts any error by the rules of [`EventError`](crate::EventError). A string becomes the message.
/// For other errors, the client receives `internal error`, and the cause is logged.
///
/// # Examples
///
/// ```
/// use socketio::ConnectError;
///
/// let refuse = ConnectError::new("unauthorized").data(serde_json::json!({"code": 401}));
/// assert_eq!(refuse.message(), "unauthorized");
/// ```
#[derive(Debug, Clone)]
pub struct ConnectError {
    message: String,
    data: Option<Value>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl ConnectError {
    /// Creates an error with a message, which the client receives as `error.message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None, cause: None }
    }

    /// Creates an error whose cause is logged and not sent. The client receives `internal error`.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into().into()), ..Self::new("internal error") }
    }

    /// Adds details, which the client receives as `error.data`.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the cause of an internal error, which is logged and not sent to the client.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    pub(crate) fn details(&self) -> Option<&Value> {
        self.data.as_ref()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Errors are equal if the client receives the same message and the same data.
impl PartialEq for ConnectError {
    fn eq(&self, other: &Self) -> bool {
        (&self.message, &self.data) == (&other.message, &other.data)
    }
}

/// Lets handlers and hooks use `?` on methods of [`Handshake`].
impl From<ConnectError> for EventError {
    fn from(error: ConnectError) -> Self {
        match error.cause {
            Some(cause) => Self::internal(cause),
            None => Self::public(error.message),
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>> + 'static> From<E> for ConnectError {
    fn from(error: E) -> Self {
        match public_message(&error) {
            Some(message) => Self::new(message),
            None => Self::internal(error),
        }
    }
}
