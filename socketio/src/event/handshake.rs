//! The handshake of a client with a namespace, and the error that rejects it.

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
/// Headers, query and address are those of the HTTP request that opened the connection, in all its
/// namespaces. Node: `socket.handshake`.
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

    /// Copies the handshake, with the parameters of a dynamic namespace.
    pub(crate) fn with_params(&self, params: Params) -> Self {
        let Inner { request, auth, time, .. } = &*self.0;
        Self(Arc::new(Inner { request: request.clone(), auth: auth.clone(), time: *time, params }))
    }

    /// Parses a parameter in the path of a [dynamic namespace](crate::Server::dynamic).
    ///
    /// # Errors
    ///
    /// Returns the error `Invalid namespace` if the path has no such parameter, or if it does not parse as a
    /// `T`.
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

    /// Decodes the `auth` payload of the client, `{}` if it sent none.
    ///
    /// # Errors
    ///
    /// Returns an error with a message for the client if the payload is not a `T`.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, ConnectError> {
        leniency::from_str(self.auth_json().unwrap_or("{}"))
            .map_err(|error| ConnectError::new(format!("invalid auth: {error}")))
    }

    /// Returns the `auth` payload of the client, the text of a JSON object.
    pub fn auth_json(&self) -> Option<&str> {
        self.0.auth.as_deref()
    }

    /// Returns the first header with this name. Names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.request.header(name)
    }

    /// Returns all headers, with names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.request.headers()
    }

    /// Returns the query parameter with this name, the last one if it is repeated.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.request.query(name)
    }

    /// Returns all query parameters, including those of the protocol.
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.0.request.queries()
    }

    /// Returns an extension that a tower layer in front of the server added to the HTTP request that opened
    /// the connection, such as a session or an authenticated user. Available on every transport and in all
    /// namespaces.
    ///
    /// The server keeps the types named by
    /// [`EngineConfig::keep_extension`](crate::EngineConfig::keep_extension) as long as the connection lives.
    /// Returns `None` for other types, and if no layer has set the extension. Node: `socket.request`.
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

    /// Returns the target of the HTTP request: path and query.
    pub fn url(&self) -> &str {
        self.0.request.url()
    }

    /// Returns the address of the client, or of the proxy in front of it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.request.address()
    }

    /// Returns the time of the CONNECT packet. Node: `issued`.
    pub fn issued(&self) -> SystemTime {
        self.0.time
    }

    /// Returns `true` if the HTTP request used TLS, as far as the server itself can tell.
    pub fn secure(&self) -> bool {
        self.0.request.secure()
    }

    /// Returns `true` if the HTTP request has an `Origin` header. Node: `xdomain`.
    pub fn cross_domain(&self) -> bool {
        self.header("origin").is_some()
    }
}

impl fmt::Debug for Handshake {
    /// Omits `auth` and headers, because they hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// The rejection of a connection: the client receives it as `connect_error`.
///
/// `?` converts any error, as for an [`EventError`](crate::EventError): a string is the message; for other
/// errors the client receives `internal error`, and the cause is logged.
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
    /// Rejects with a message: `error.message` of the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None, cause: None }
    }

    /// Rejects with a cause that is not sent: the client receives `internal error`.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into().into()), ..Self::new("internal error") }
    }

    /// Adds details: `error.data` of the client.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the cause, for the log.
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

/// Equal if the client receives the same error.
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
