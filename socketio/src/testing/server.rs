//! Defines the server under test and the builder of its clients.

use std::fmt;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    client::{Claim, TestClient},
    wire::Wire,
};
use crate::{event::handshake::ConnectError, server::Server};

/// A wrapper of a [`Server`] that connects clients in the same process.
///
/// # Examples
///
/// See the [module](crate::testing).
#[derive(Debug, Clone)]
pub struct TestServer(Server);

impl TestServer {
    /// Wraps the server of the application.
    pub fn new(server: Server) -> Self {
        Self(server)
    }

    /// Returns the wrapped server, which can be used to emit from outside of handlers, to read counters, or
    /// to close the server.
    pub fn server(&self) -> &Server {
        &self.0
    }

    /// Connects a client to a namespace.
    ///
    /// # Panics
    ///
    /// Panics if the client is refused. Use [`client`](Self::client) if a refusal is expected.
    pub async fn connect(&self, namespace: &str) -> TestClient {
        match self.client(namespace).connect().await {
            Ok(client) => client,
            Err(refuse) => panic!("refused by `{namespace}`: {refuse}"),
        }
    }

    /// Returns a builder for a client, which can set an auth payload, headers and query parameters.
    pub fn client(&self, namespace: &str) -> Connect {
        let (headers, query) = (HeaderMap::new(), String::from("EIO=4&transport=polling"));
        Connect {
            server: self.0.clone(),
            namespace: namespace.to_owned(),
            auth: String::new(),
            claim: Claim::default(),
            query,
            headers,
            extensions: Extensions::new(),
        }
    }
}

/// A builder for a [`TestClient`].
///
/// # Examples
///
/// ```
/// use socketio::{Handshake, Namespace, ConnectError, Server, testing::TestServer};
///
/// async fn sign_in(handshake: Handshake) -> Result<(), ConnectError> {
///     if handshake.header("x-api-key") == Some("secret") { Ok(()) } else { Err(ConnectError::new("who are you?")) }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let server = TestServer::new(Server::new().namespace(Namespace::with_auth("/", sign_in)));
/// assert!(server.client("/").header("x-api-key", "secret").connect().await.is_ok());
/// let refuse = server.client("/").connect().await.unwrap_err();
/// assert_eq!(refuse.message(), "who are you?");
/// # }
/// ```
#[must_use = "nothing happens before `connect`"]
pub struct Connect {
    server: Server,
    namespace: String,
    auth: String,
    claim: Claim,
    query: String,
    headers: HeaderMap,
    extensions: Extensions,
}

impl Connect {
    /// Sets the `auth` payload, which must be serialized as a JSON object.
    ///
    /// # Panics
    ///
    /// Panics if the value cannot be serialized as JSON.
    pub fn auth<T: Serialize>(mut self, auth: &T) -> Self {
        match serde_json::to_string(auth) {
            Ok(json) => self.auth = json,
            Err(error) => panic!("auth cannot be written: {error}"),
        }
        self
    }

    /// Drops the connection of `client`, and requests the recovery of its socket and of all events that the
    /// test has not read, like the official client when it reconnects. [`TestClient::recovered`] returns
    /// `true` if the recovery succeeded. See [`ConnectionStateRecovery`](crate::ConnectionStateRecovery).
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{ConnectionStateRecovery, Namespace, Server, ServerConfig, testing::TestServer};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let config = ServerConfig::default().connection_state_recovery(ConnectionStateRecovery::default());
    /// let server = TestServer::new(Server::with_config(config).namespace(Namespace::new("/")));
    /// let client = server.connect("/").await;
    /// let gone = server.client("/").recover(client);
    /// server.server().emit("news", "tea").unwrap();
    /// let mut client = gone.connect().await.unwrap();
    /// assert!(client.recovered());
    /// assert_eq!(client.expect::<String>("news").await, "tea");
    /// # }
    /// ```
    pub fn recover(mut self, client: TestClient) -> Self {
        self.claim = client.leave_claim();
        self
    }

    /// Adds a header to every request.
    ///
    /// # Panics
    ///
    /// Panics if the name or the value is not valid in HTTP.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(header), Ok(content)) => self.headers.append(header, content),
            _ => panic!("no valid header: {name}: {value}"),
        };
        self
    }

    /// Adds an extension to every request. This replaces a layer that sets the extension in production.
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// Adds a query parameter to every request.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        self.query = format!("{}&{pair}", self.query);
        self
    }

    /// Connects the client and waits for the response of the namespace.
    ///
    /// # Errors
    ///
    /// Returns an error with the content of `connect_error` if the namespace refuses the client. If the HTTP
    /// request is refused, returns an error with the response body as its message.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is dropped.
    pub async fn connect(self) -> Result<TestClient, ConnectError> {
        let wire = Wire::open(self.server, self.query, self.headers, self.extensions)
            .await
            .map_err(ConnectError::new)?;
        let auth = auth_of(&self.auth, &self.claim);
        TestClient::join(wire, &self.namespace, &auth, self.claim).await
    }
}

/// Returns the `auth` payload with the fields of the claim. As in the official client, fields that the user
/// has set take precedence.
fn auth_of(auth: &str, claim: &Claim) -> String {
    let Some(pid) = &claim.pid else { return auth.to_owned() };
    let mut all: Map<String, Value> = serde_json::from_str(auth).unwrap_or_default();
    all.entry("pid").or_insert_with(|| Value::from(&**pid));
    if let Some(offset) = &claim.offset {
        all.entry("offset").or_insert_with(|| Value::from(offset.as_str()));
    }
    Value::Object(all).to_string()
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
