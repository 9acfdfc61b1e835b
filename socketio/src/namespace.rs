//! A namespace: who is admitted, and what handles which event.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
};

use engineio::SessionHandle;
use futures::FutureExt;
use serde::Serialize;

use crate::{
    adapter::{Adapter, Hooks},
    broadcast::BroadcastOperator,
    dispatch::{self, Admission, Done, Endpoint, Event, Handler, Key, Member, Running},
    error::EventError,
    event::{EventName, IntoAck},
    handshake::{Handshake, Refuse},
    proto::{
        args::{ArgsError, FromArgs, RawArgs},
        packet::{MAX_NAME, is_reserved},
    },
    reason::DisconnectReason,
    room_events::RoomEvent,
    server_event,
    socket::{AnySocket, Ending, Socket},
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Admit<D> = Box<dyn Fn(Handshake) -> BoxFuture<Result<D, Refuse>> + Send + Sync>;
type ConnectHook<D> = Box<dyn Fn(Socket<D>, Key) -> Running + Send + Sync>;
type DisconnectHook<D> = Box<dyn Fn(Socket<D>, DisconnectReason, Key) -> Running + Send + Sync>;

/// A namespace with its handlers, which are registered once, not for each socket.
///
/// `D` is what each socket remembers: the value that the admission returned. Handlers are async functions of a
/// [`Socket`] and the arguments of the event; what they return is the acknowledgement.
///
/// Handlers of one socket start in the order in which its events arrive, and may overlap while they wait; at most
/// [`max_in_flight`](Self::max_in_flight) run at once, then the connection stops reading.
///
/// # Examples
///
/// ```
/// use socketio::{Ack, DisconnectReason, EventError, Handshake, Namespace, Refuse, Socket};
///
/// struct User { name: String }
///
/// async fn sign_in(handshake: Handshake) -> Result<User, Refuse> {
///     Ok(User { name: handshake.auth()? })
/// }
///
/// async fn say(socket: Socket<User>, text: String) -> Result<Ack<usize>, EventError> {
///     socket.broadcast().emit("said", &(&socket.data().name, &text))?;
///     Ok(Ack(text.len()))
/// }
///
/// let chat = Namespace::with_auth("/chat", sign_in)
///     .on("join", async |socket, room: String| socket.join(room))
///     .on("say", say)
///     .on_disconnect(async |socket, reason: DisconnectReason| println!("{} left: {reason}", socket.data().name));
/// ```
#[must_use = "a namespace does nothing until it is added to a server"]
pub struct Namespace<D = ()> {
    path: Box<str>,
    table: Table<D>,
    hooks: Hooks,
}

struct Table<D> {
    admit: Admit<D>,
    events: HashMap<Box<str>, Handler<D>>,
    connected: Option<ConnectHook<D>>,
    disconnected: Option<DisconnectHook<D>>,
    max_in_flight: usize,
}

impl Namespace {
    /// A namespace that anyone may connect to. The path begins with a slash; `/` is the one that clients connect
    /// to by default.
    ///
    /// # Panics
    ///
    /// Panics if the path does not begin with a slash, holds a comma, or is longer than 256 bytes.
    #[track_caller]
    pub fn new(path: impl Into<String>) -> Self {
        Namespace::with_auth(path, async |_| Ok::<_, Refuse>(()))
    }
}

impl<D: Send + Sync + 'static> Namespace<D> {
    /// A namespace whose clients are admitted by `admit`: what it returns is the [data](Socket::data) of the socket,
    /// or the refusal that the client hears as `connect_error`.
    ///
    /// Middleware is a function that calls functions. If the client leaves first, the future is dropped.
    ///
    /// # Panics
    ///
    /// As [`Namespace::new`].
    #[track_caller]
    pub fn with_auth<F, Fut, E>(path: impl Into<String>, admit: F) -> Self
    where
        F: FnOnce(Handshake) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<D, E>> + Send + 'static,
        E: Into<Refuse>,
    {
        let path = path.into();
        assert!(path.starts_with('/'), "the path of a namespace begins with a slash: `{path}`");
        assert!(!path.contains(','), "a comma ends the path of a namespace on the wire: `{path}`");
        assert!(path.len() <= MAX_NAME, "the path of a namespace has at most {MAX_NAME} bytes: `{path}`");
        let admit: Admit<D> = Box::new(move |handshake| {
            let admit = admit.clone();
            Box::pin(async move { admit(handshake).await.map_err(Into::into) })
        });
        let table =
            Table { admit, events: HashMap::new(), connected: None, disconnected: None, max_in_flight: 64 };
        Self { path: path.into(), table, hooks: Hooks::default() }
    }

    /// Registers the handler of an event.
    ///
    /// For the arguments, see [`FromArgs`]; for what may be returned, [`IntoAck`]. Arguments that do not fit are
    /// answered with an error and logged, and the handler does not run. The function is cloned for each event, so
    /// a closure may move what it has captured.
    ///
    /// # Panics
    ///
    /// Panics if the event has a handler already, or if its name is reserved.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    #[track_caller]
    pub fn on<T, F, Fut>(mut self, event: impl EventName<T>, handler: F) -> Self
    where
        F: FnOnce(Socket<D>, T) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoAck,
        T: FromArgs + Send + 'static,
    {
        let name = event.name();
        assert!(!is_reserved(name), "the name `{name}` is reserved: no client can emit it");
        match self.table.events.entry(name.into()) {
            Entry::Occupied(_) => panic!("event `{name}` of namespace `{}` has a handler already", self.path),
            Entry::Vacant(slot) => slot.insert(dispatch::handler(handler)),
        };
        self
    }

    /// Runs a function for each new socket, before any of its events is handled: they wait until it has returned.
    /// What goes on for longer belongs into a task of its own. Node: the `connection` event.
    ///
    /// # Panics
    ///
    /// Panics if there is one already.
    #[track_caller]
    pub fn on_connect<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(Socket<D>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        assert!(self.table.connected.is_none(), "namespace `{}` has a connect hook already", self.path);
        self.table.connected = Some(Box::new(move |socket, key| {
            let hook = hook.clone();
            dispatch::hook("connect", async move { hook(socket).await }, Done::Connected(key))
        }));
        self
    }

    /// Runs a function once for each socket that has left, after its handlers have returned; those that take longer
    /// than [`disconnect_grace`](field@crate::ServerConfig::disconnect_grace) are not waited for. Node: the
    /// `disconnect` event.
    ///
    /// # Panics
    ///
    /// Panics if there is one already.
    #[track_caller]
    pub fn on_disconnect<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(Socket<D>, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        assert!(self.table.disconnected.is_none(), "namespace `{}` has a disconnect hook already", self.path);
        self.table.disconnected = Some(Box::new(move |socket, reason, key| {
            let hook = hook.clone();
            dispatch::hook("disconnect", async move { hook(socket, reason).await }, Done::Disconnected(key))
        }));
        self
    }

    /// The most handlers of one socket that run at once. 64 by default; with 1, each event is handled after the one
    /// before. Acknowledgements of the client do not wait for handlers.
    ///
    /// # Panics
    ///
    /// Panics if it is zero.
    #[track_caller]
    pub fn max_in_flight(mut self, handlers: usize) -> Self {
        assert!(handlers > 0, "max_in_flight must not be zero");
        self.table.max_in_flight = handlers;
        self
    }

    /// Registers the handler of an event that other servers of the cluster send, by
    /// [`server_side_emit`](BroadcastOperator::server_side_emit). It gets the sockets of this namespace, to emit to, and
    /// the arguments; what it returns is the answer, if the other server waits for one.
    ///
    /// Handlers start in the order in which the events of one server arrive, and may overlap. Node: `io.on(event)`.
    ///
    /// # Panics
    ///
    /// Panics if the event has such a handler already, or if its name is reserved.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Ack, BroadcastOperator, Namespace};
    ///
    /// let chat = Namespace::new("/")
    ///     .on_server("closing at", async |sockets: BroadcastOperator, hour: u8| {
    ///         sockets.local().emit("closing at", &hour)
    ///     })
    ///     .on_server("sum", async |_, (a, b): (i32, i32)| Ack(a + b));
    /// ```
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    #[track_caller]
    pub fn on_server<T, F, Fut>(mut self, event: impl EventName<T>, handler: F) -> Self
    where
        F: FnOnce(BroadcastOperator, T) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoAck,
        T: FromArgs + Send + 'static,
    {
        let name = event.name();
        assert!(!is_reserved(name), "the name `{name}` is reserved: no server can emit it");
        match self.hooks.server_events.entry(name.into()) {
            Entry::Occupied(_) => {
                panic!("server event `{name}` of namespace `{}` has a handler already", self.path)
            }
            Entry::Vacant(slot) => slot.insert(server_event::handler(handler)),
        };
        self
    }

    /// Calls a function for all that happens to rooms of this namespace on this server: creation before the first
    /// join, deletion after the last leave, on connection and disconnection too. Node: the events of
    /// `namespace.adapter`.
    ///
    /// Events come one at a time and in order, under no lock, on whatever thread the change was made: the function must
    /// not block, and may join and leave rooms itself. If more than
    /// [`max_room_events`](field@crate::ServerConfig::max_room_events) wait, [`RoomEvent::Missed`] tells how many are
    /// lost. Without the function nothing is noted.
    ///
    /// # Panics
    ///
    /// Panics if there is one already.
    #[track_caller]
    pub fn on_room(mut self, hook: impl Fn(RoomEvent) + Send + Sync + 'static) -> Self {
        assert!(self.hooks.room.is_none(), "namespace `{}` has a room hook already", self.path);
        self.hooks.room = Some(Box::new(hook));
        self
    }

    /// Lets other servers read the [data](Socket::data) of the sockets, and
    /// [`RemoteSocket::data`](crate::RemoteSocket::data) on this one: it is written as JSON when sockets are fetched.
    /// Without, it stays with its socket. Node shares `socket.data` always.
    pub fn share_data(mut self) -> Self
    where
        D: Serialize,
    {
        self.hooks.share = Some(|data| data.downcast_ref::<D>().map(serde_json::to_string));
        self
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn into_endpoint(self, adapter: Adapter) -> Arc<dyn Endpoint> {
        Arc::new(Hosted { adapter: Arc::new(adapter.with_hooks(self.hooks)), table: Arc::new(self.table) })
    }
}

impl<D> fmt::Debug for Namespace<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: Vec<&str> = self.table.events.keys().map(|name| &**name).collect();
        f.debug_struct("Namespace").field("path", &self.path).field("events", &events).finish_non_exhaustive()
    }
}

/// A namespace of a server.
struct Hosted<D> {
    adapter: Arc<Adapter>,
    table: Arc<Table<D>>,
}

impl<D: Send + Sync + 'static> Endpoint for Hosted<D> {
    fn adapter(&self) -> &Arc<Adapter> {
        &self.adapter
    }

    fn admit(
        self: Arc<Self>,
        handshake: Handshake,
        session: SessionHandle,
        ending: Arc<Ending>,
    ) -> Admission {
        Box::pin(async move {
            let run = async { (self.table.admit)(handshake.clone()).await };
            let data = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(namespace = self.adapter.path(), "the admission panicked");
                Err(Refuse::new("internal error"))
            })?;
            let socket = Socket::new(session, ending, self.adapter.clone(), handshake, data);
            Ok(Box::new(Joined { socket, table: self.table.clone() }) as Box<dyn Member>)
        })
    }
}

/// A socket and its handlers.
struct Joined<D> {
    socket: Socket<D>,
    table: Arc<Table<D>>,
}

impl<D: Send + Sync + 'static> Member for Joined<D> {
    fn socket(&self) -> AnySocket {
        self.socket.any()
    }

    fn enter(&self) -> bool {
        self.socket.enter().is_ok()
    }

    fn max_in_flight(&self) -> usize {
        self.table.max_in_flight
    }

    fn connected(&self, key: Key) -> Option<Running> {
        self.table.connected.as_ref().map(|hook| hook(self.socket.clone(), key))
    }

    fn event(
        &self,
        key: Key,
        name: &str,
        id: Option<u64>,
        raw: RawArgs<'_>,
    ) -> Result<Option<Running>, ArgsError> {
        let Some(handler) = self.table.events.get(name) else { return Ok(None) };
        // Reading the arguments runs the user's `Deserialize`, which may panic as a handler may.
        let event = Event { key, name, id, raw };
        let started = catch_unwind(AssertUnwindSafe(|| handler(self.socket.clone(), event)));
        started.map_or_else(
            |_| {
                let error = EventError::internal("reading the arguments panicked");
                self.socket.any().fail(name, id, &error);
                Ok(None)
            },
            |running| running.map(Some),
        )
    }

    fn disconnected(&self, key: Key, reason: DisconnectReason) -> Option<Running> {
        self.table.disconnected.as_ref().map(|hook| hook(self.socket.clone(), reason, key))
    }
}
