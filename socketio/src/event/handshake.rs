//! What a client brings when it connects, and how it is refused.

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
/// Headers, query and address are those of the HTTP request that opened the connection, for all its namespaces.
/// Node: `socket.handshake`.
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

/// The parameters in the path of a dynamic namespace, each with its name.
pub(crate) type Params = Box<[(Box<str>, Box<str>)]>;

impl Handshake {
    pub(crate) fn new(request: Arc<HandshakeRequest>, auth: &str) -> Self {
        let auth = (!auth.is_empty()).then(|| auth.into());
        Self(Arc::new(Inner { request, auth, time: SystemTime::now(), params: Params::default() }))
    }

    /// The same, for a dynamic namespace.
    pub(crate) fn with_params(&self, params: Params) -> Self {
        let Inner { request, auth, time, .. } = &*self.0;
        Self(Arc::new(Inner { request: request.clone(), auth: auth.clone(), time: *time, params }))
    }

    /// Reads a parameter in the path of a [dynamic namespace](crate::Server::dynamic).
    ///
    /// # Errors
    ///
    /// Returns the refusal of a namespace that does not exist, if the path has no such parameter, or one that is no `T`.
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

    /// All parameters in the path of a dynamic namespace, with their names, from left to right.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.params.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Reads what the client passed as `auth`. A client that passed nothing has passed `{}`.
    ///
    /// # Errors
    ///
    /// Returns a refusal that says so if it is of another type.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, ConnectError> {
        leniency::from_str(self.auth_json().unwrap_or("{}"))
            .map_err(|error| ConnectError::new(format!("invalid auth: {error}")))
    }

    /// What the client passed as `auth`: the text of a JSON object.
    pub fn auth_json(&self) -> Option<&str> {
        self.0.auth.as_deref()
    }

    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.request.header(name)
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.request.headers()
    }

    /// The query parameter of this name; the last one, if it is repeated.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.request.query(name)
    }

    /// All query parameters, those of the protocol included.
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.0.request.queries()
    }

    /// What a tower layer in front of the server has put into the extensions of the HTTP request that opened the
    /// connection: a session, or the user behind a token. On every transport, and for all namespaces.
    ///
    /// The server keeps those types that
    /// [`EngineConfig::keep_extension`](crate::EngineConfig::keep_extension) names, as long as the connection lives; of
    /// others, and if no layer has set it, this is `None`. Node: `socket.request`.
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
    /// // In place of a layer that asks a database.
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

    /// The target of the HTTP request: path and query.
    pub fn url(&self) -> &str {
        self.0.request.url()
    }

    /// The address of the client, or of the proxy in front of it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.request.address()
    }

    /// When the client asked to connect to the namespace. Node: `issued`.
    pub fn issued(&self) -> SystemTime {
        self.0.time
    }

    /// Whether the HTTP request came over TLS, as far as the server itself can see.
    pub fn secure(&self) -> bool {
        self.0.request.secure()
    }

    /// Whether the HTTP request has an `Origin` header. Node: `xdomain`.
    pub fn cross_domain(&self) -> bool {
        self.header("origin").is_some()
    }
}

impl fmt::Debug for Handshake {
    /// Leaves `auth` and headers out: they hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// The refusal of a connection: the client gets it as `connect_error`.
///
/// `?` makes one of any error, as of an [`EventError`](crate::EventError): a text is the message, and of another error
/// the client gets `internal error`, while the log has the cause.
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
    /// Refuses with a message: `error.message` of the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None, cause: None }
    }

    /// Refuses for a reason that stays on the server: the client gets `internal error`.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into().into()), ..Self::new("internal error") }
    }

    /// Adds details: `error.data` of the client.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The cause, for the log.
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

/// Two are equal if the client cannot tell them apart.
impl PartialEq for ConnectError {
    fn eq(&self, other: &Self) -> bool {
        (&self.message, &self.data) == (&other.message, &other.data)
    }
}

/// For handlers and hooks that read the handshake.
impl From<ConnectError> for EventError {
    fn from(refuse: ConnectError) -> Self {
        match refuse.cause {
            Some(cause) => Self::internal(cause),
            None => Self::public(refuse.message),
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
