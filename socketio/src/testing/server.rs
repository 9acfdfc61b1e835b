//! The server under test, and how clients connect to it.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::{client::TestClient, wire::Wire};
use crate::{handshake::Refuse, server::Server};

/// A [`Server`] for clients in the same process.
///
/// # Examples
///
/// See the [module](crate::testing).
#[derive(Debug, Clone)]
pub struct TestServer(Server);

impl TestServer {
    /// Takes the server of the application.
    pub fn new(server: Server) -> Self {
        Self(server)
    }

    /// The server: to emit from outside of handlers, to count, to close.
    pub fn server(&self) -> &Server {
        &self.0
    }

    /// Connects a client to a namespace.
    ///
    /// # Panics
    ///
    /// Panics if the client is refused; see [`client`](Self::client) for those that may be.
    pub async fn connect(&self, namespace: &str) -> TestClient {
        match self.client(namespace).connect().await {
            Ok(client) => client,
            Err(refuse) => panic!("refused by `{namespace}`: {refuse}"),
        }
    }

    /// Prepares a client that brings more than the name of a namespace.
    pub fn client(&self, namespace: &str) -> Connect {
        let (headers, query) = (HeaderMap::new(), String::from("EIO=4&transport=polling"));
        Connect {
            server: self.0.clone(),
            namespace: namespace.to_owned(),
            auth: String::new(),
            query,
            headers,
        }
    }
}

/// A client that is about to connect.
///
/// # Examples
///
/// ```
/// use socketio::{Handshake, Namespace, Refuse, Server, testing::TestServer};
///
/// async fn sign_in(handshake: Handshake) -> Result<(), Refuse> {
///     if handshake.header("x-api-key") == Some("secret") { Ok(()) } else { Err(Refuse::new("who are you?")) }
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
    query: String,
    headers: HeaderMap,
}

impl Connect {
    /// What the client gives as `auth`: an object.
    ///
    /// # Panics
    ///
    /// Panics if the value cannot be written as JSON.
    pub fn auth<T: Serialize>(mut self, auth: &T) -> Self {
        match serde_json::to_string(auth) {
            Ok(json) => self.auth = json,
            Err(error) => panic!("auth cannot be written: {error}"),
        }
        self
    }

    /// A header of every request.
    ///
    /// # Panics
    ///
    /// Panics if it is none that HTTP allows.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(header), Ok(content)) => self.headers.append(header, content),
            _ => panic!("no valid header: {name}: {value}"),
        };
        self
    }

    /// A query parameter of the connection.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        self.query = format!("{}&{pair}", self.query);
        self
    }

    /// Connects, and waits for the answer of the namespace.
    ///
    /// # Errors
    ///
    /// The refusal by the namespace, as a client gets it in `connect_error`; or that of the request, with the body of
    /// the answer as its message.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub async fn connect(self) -> Result<TestClient, Refuse> {
        let wire = Wire::open(self.server, self.query, self.headers).await.map_err(Refuse::new)?;
        TestClient::join(wire, &self.namespace, &self.auth).await
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
