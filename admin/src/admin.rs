//! The options of the Admin UI, and its namespace.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use socketio::{Ack, EmitError, EventError, Namespace, Server, SlowConsumerPolicy, Socket};
use tokio::sync::{mpsc, oneshot};

use crate::{
    actions,
    auth::{Authentication, BasicAuth, InvalidHash},
    events::Events,
    fleet::{self, AdminData},
    record::{Recording, SocketRecord},
    sessions::SessionStore,
    worker::{self, Command, Worker},
};

/// The event that a server sends to the others while it has administrators.
pub(crate) const WATCH: &str = "admin:watch";
/// The event with which a server asks the others for their sockets.
pub(crate) const SOCKETS: &str = "admin:sockets";
/// The maximum number of commands for the worker. Senders wait.
const MAX_COMMANDS: usize = 64;

/// How much the UI shows. Called `mode` in Node.js, which has `development` as its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Numbers only: servers, namespaces, clients and traffic. The cost does not depend on the number of sockets.
    #[default]
    Production,
    /// Also sockets, clients, rooms and a sample of the events, up to limits.
    Development,
}

/// The server side of the Socket.IO Admin UI. It is attached to a server by [`attach`](Self::attach). Equivalent to
/// `instrument` in Node.js.
///
/// An `Admin` is created either with a name and a password, or explicitly without.
///
/// # Examples
///
/// ```
/// use socketio::{Namespace, Server};
/// use socketio_admin::{Admin, Mode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // The hash of "changeit": `htpasswd -nbBC 10 admin changeit`, or `npx bcryptjs-cli hash changeit`.
/// let hash = "$2a$10$p5rQWSO85y0YL4XoLDF/2unbr18XyL794tshXZX.lwdGBBi3EPwPq";
/// let admin = Admin::basic_auth("admin", hash)?.mode(Mode::Development);
/// let io = admin.attach(Server::new().namespace(Namespace::new("/")));
/// # io.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is shown before `attach`"]
pub struct Admin {
    auth: Authentication,
    namespace: String,
    read_only: bool,
    server_id: Option<String>,
    mode: Mode,
    max_sockets: usize,
    max_events_per_second: usize,
    recording: Recording,
}

impl Admin {
    fn new(auth: Authentication) -> Self {
        Self {
            auth,
            namespace: "/admin".to_owned(),
            read_only: false,
            server_id: None,
            mode: Mode::default(),
            max_sockets: 500,
            max_events_per_second: 50,
            recording: Recording::default(),
        }
    }

    /// Requires a name and a password, which is given as a bcrypt hash with any of the prefixes `$2a$`, `$2b$`, `$2x$`
    /// and `$2y$`. Equivalent to `auth: { type: "basic", username, password }` in Node.js.
    ///
    /// Two passwords are checked at a time, on threads for blocking work; see
    /// [`max_password_checks`](Self::max_password_checks). Who has logged in gets a session, see
    /// [`session_store`](Self::session_store).
    ///
    /// # Errors
    ///
    /// Returns an error if the password is no bcrypt hash.
    pub fn basic_auth(username: impl Into<String>, hash: impl Into<String>) -> Result<Self, InvalidHash> {
        let basic = BasicAuth::new(username.into(), hash.into())?;
        Ok(Self::new(Authentication::Basic(Box::new(basic))))
    }

    /// Lets everyone in who can reach the server. Use this only on your own machine, or behind a proxy that
    /// authenticates the requests for the path of the server. A warning is logged. Equivalent to `auth: false` in
    /// Node.js.
    pub fn without_authentication() -> Self {
        Self::new(Authentication::None)
    }

    /// Sets the namespace of the UI. Defaults to `/admin`. Called `namespaceName` in Node.js.
    pub fn namespace(mut self, path: impl Into<String>) -> Self {
        self.namespace = path.into();
        self
    }

    /// Sets whether administrators can only look. No handlers of actions are then registered. Defaults to `false`.
    /// Called `readonly` in Node.js.
    pub fn read_only(mut self, is_enabled: bool) -> Self {
        self.read_only = is_enabled;
        self
    }

    /// Sets the name of this server, which must be unique in its cluster. Defaults to the name of the host, followed by
    /// the id of the server in its cluster, or by the id of the process. Called `serverId` in Node.js.
    pub fn server_id(mut self, id: impl Into<String>) -> Self {
        self.server_id = Some(id.into());
        self
    }

    /// Sets how much is shown. Defaults to [`Mode::Production`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the store of the sessions of administrators. Defaults to a [`MemoryStore`](crate::MemoryStore). Ignored
    /// without authentication. Called `store` in Node.js.
    pub fn session_store(mut self, store: impl SessionStore) -> Self {
        if let Authentication::Basic(basic) = &mut self.auth {
            basic.store = Arc::new(store);
        }
        self
    }

    /// Sets the maximum number of passwords that are checked at a time. A check takes a core for the time that the cost of
    /// the hash is made for, such as 50 ms. Other clients wait, up to 32 together with these, and further ones are refused.
    /// Defaults to 2.
    ///
    /// # Panics
    ///
    /// Panics if `max` is zero.
    #[track_caller]
    pub fn max_password_checks(mut self, max: usize) -> Self {
        assert!(max > 0, "max_password_checks must not be zero");
        if let Authentication::Basic(basic) = &mut self.auth {
            basic.set_max_checks(max);
        }
        self
    }

    /// Sets the maximum number of sockets of this server that are shown in [`Mode::Development`]. A socket is shown until
    /// it disconnects, and then another one takes its place. Defaults to 500. The UI is slow with more than a few
    /// thousand.
    pub fn max_sockets(mut self, max: usize) -> Self {
        self.max_sockets = max;
        self
    }

    /// Sets the maximum number of events that are shown per second in [`Mode::Development`]. An event to several sockets
    /// counts for each that is shown, at most four. Defaults to 50.
    pub fn max_events_per_second(mut self, max: usize) -> Self {
        self.max_events_per_second = max;
        self
    }

    /// Hides the value of a header, or of a parameter of the query, of the handshakes that are shown. By default, these
    /// are `authorization`, `cookie`, `proxy-authorization`, `x-api-key`, `access_token`, `api_key`, `apikey`,
    /// `password`, `secret`, `sid` and `token`. Node.js shows all.
    pub fn redact(mut self, name: &str) -> Self {
        self.recording.secrets.insert(name.to_lowercase());
        self
    }

    /// Shows the value of a header or a parameter that is [hidden](Self::redact) by default.
    pub fn show(mut self, name: &str) -> Self {
        self.recording.secrets.remove(&name.to_lowercase());
        self
    }

    /// Sets the header from which the address of a client is taken, such as `x-forwarded-for`. Clients can set any header,
    /// unless a proxy in front of the server overwrites it. By default, the address of the connection is shown. Node.js
    /// always takes `cf-connecting-ip` or `x-forwarded-for`, if there is one.
    pub fn address_header(mut self, name: impl Into<String>) -> Self {
        self.recording.address_header = Some(name.into());
        self
    }

    /// Adds the namespace of the UI to a server, and starts a task that reports what the server does. The server is then
    /// not dropped before it is [closed](Server::close).
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime, if the server has the namespace already, or if the path of the namespace is
    /// invalid.
    #[track_caller]
    pub fn attach(self, io: Server) -> Server {
        if matches!(self.auth, Authentication::None) {
            tracing::warn!(namespace = self.namespace, "the Admin UI needs no authentication");
        }
        let ticks_per_second = 1000 / worker::TICK.as_millis() as usize;
        let max_events = self.max_events_per_second.div_ceil(ticks_per_second);
        let (commands, queue) = mpsc::channel(MAX_COMMANDS);
        let shared = Shared(Arc::new(State {
            events: Events::new(&self.namespace, max_events),
            namespace: self.namespace,
            auth: self.auth,
            mode: self.mode,
            max_sockets: self.max_sockets,
            recording: self.recording,
            server: Mutex::new(None),
            commands,
        }));
        let mut namespace = Namespace::with_auth(shared.namespace(), {
            let shared = shared.clone();
            async move |handshake| {
                Ok::<_, socketio::ConnectError>(AdminSocket {
                    session: shared.0.auth.admit(&handshake).await?,
                })
            }
        });
        let (connects, features) = (shared.clone(), features(self.mode, self.read_only));
        // A page that has missed a change would never get it. It connects again, and gets all sockets.
        namespace = namespace.slow_consumer(SlowConsumerPolicy::Disconnect);
        namespace = namespace.on_connect(async move |socket| connects.connected(&socket, &features).await);
        let (watches, asks) = (shared.clone(), shared.clone());
        namespace = namespace
            .on_server(WATCH, async move |_, ()| {
                watches.send(Command::Watch).await;
            })
            .on_server(SOCKETS, async move |_, ()| Ack(asks.snapshot().await));
        if !self.read_only {
            namespace = actions::register(namespace, &shared);
        }
        let io = io.namespace(namespace);
        io.share_admin_data(AdminData::new);
        *shared.0.server.lock() = Some(io.clone());
        if io.server_id().is_some() {
            tokio::spawn(fleet::watch_node(shared.clone()));
        }
        let worker = Worker::new(io.clone(), shared, self.server_id);
        tokio::spawn(worker.run(queue));
        io
    }
}

fn features(mode: Mode, read_only: bool) -> Vec<&'static str> {
    let mut features = if read_only { Vec::new() } else { actions::FEATURES.to_vec() };
    features.push("AGGREGATED_EVENTS");
    if mode == Mode::Development {
        features.push("ALL_EVENTS");
    }
    features
}

/// The data of the socket of an administrator.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    /// The session that the login has begun.
    session: Option<String>,
}

/// The state that the handlers and the worker share.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<State>);

#[derive(Debug)]
struct State {
    auth: Authentication,
    namespace: String,
    mode: Mode,
    max_sockets: usize,
    recording: Recording,
    events: Events,
    /// `None` after the server is closed, so that it can be dropped.
    server: Mutex<Option<Server>>,
    commands: mpsc::Sender<Command>,
}

impl Shared {
    pub(crate) fn namespace(&self) -> &str {
        &self.0.namespace
    }

    pub(crate) fn is_development(&self) -> bool {
        self.0.mode == Mode::Development
    }

    pub(crate) fn max_sockets(&self) -> usize {
        self.0.max_sockets
    }

    pub(crate) fn recording(&self) -> &Recording {
        &self.0.recording
    }

    pub(crate) fn events(&self) -> &Events {
        &self.0.events
    }

    pub(crate) fn server(&self) -> Option<Server> {
        self.0.server.lock().clone()
    }

    pub(crate) fn release_server(&self) {
        *self.0.server.lock() = None;
    }

    /// Waits for room in the queue of the worker. Nothing is sent after the server is closed.
    pub(crate) async fn send(&self, command: Command) {
        let _ = self.0.commands.send(command).await;
    }

    async fn connected(self, socket: &Socket<AdminSocket>, features: &[&str]) -> Result<(), EventError> {
        if let Some(session) = &socket.data().session {
            socket.emit("session", session)?;
        }
        socket.emit("config", &json!({ "supportedFeatures": features }))?;
        self.send(Command::Watch).await;
        if !self.is_development() {
            return Ok(());
        }
        let mut sockets = match self.server().filter(|io| io.server_id().is_some()) {
            Some(io) => fleet::sockets(&io, &self).await,
            None => Vec::new(),
        };
        sockets.extend(self.snapshot().await);
        // A message that does not fit in the queue of the client is refused.
        while let Err(EmitError::Full) = socket.emit("all_sockets", &(&sockets,)) {
            if sockets.is_empty() {
                return Err(EmitError::Full.into());
            }
            let kept = sockets.len() / 2;
            tracing::warn!(
                kept,
                of = sockets.len(),
                "the sockets do not fit in max_buffered_hard: some are not shown"
            );
            sockets.truncate(kept);
        }
        Ok(())
    }

    /// Returns the sockets that are shown of this server.
    async fn snapshot(&self) -> Vec<SocketRecord> {
        let (answer, sockets) = oneshot::channel();
        self.send(Command::Snapshot(answer)).await;
        // An error means that the server is closed.
        sockets.await.unwrap_or_default()
    }
}
