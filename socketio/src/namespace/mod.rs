//! A namespace: who is admitted, and what handles which event.

pub(crate) mod dispatch;
pub(crate) mod endpoint;
pub(crate) mod middleware;
pub(crate) mod restore;
pub(crate) mod server_event;
pub(crate) mod table;

use std::{collections::btree_map::Entry, fmt, future::Future, sync::Arc};

use engineio::SlowConsumerPolicy;
use serde::Serialize;

use crate::{
    event::{
        EventName, HookResult, IntoAck,
        args::Args,
        handshake::{ConnectError, Handshake},
        reason::DisconnectReason,
    },
    handles::{
        broadcast::BroadcastOperator,
        observers::Observers,
        socket::{Socket, data_of},
    },
    hub::{Adapter, Hooks, room_events::RoomEvent},
    metrics::{EventMetrics, NamespaceMetrics, log::hook_returned},
    namespace::{
        dispatch::{Done, Endpoint},
        endpoint::NamespaceEndpoint,
        middleware::{Event, Next},
        table::{Admit, Table},
    },
    proto::{args::FromArgs, packet::is_reserved},
};

/// A namespace with its handlers, which are registered once, not for each socket.
///
/// `D` is what each socket remembers: the value that the admission returned. Handlers are async functions of a
/// [`Socket`] and the arguments of the event; what they return is the acknowledgement.
///
/// Handlers of one socket start in the order in which its events arrive, and may overlap while they wait; at most
/// [`max_in_flight`](Self::max_in_flight) run at once, and further events wait.
///
/// # Examples
///
/// ```
/// use socketio::{Ack, DisconnectReason, EventError, Handshake, Namespace, ConnectError, Socket};
///
/// struct User { name: String }
///
/// async fn sign_in(handshake: Handshake) -> Result<User, ConnectError> {
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
    path: Arc<str>,
    slow_consumer: Option<SlowConsumerPolicy>,
    table: Table<D>,
    observers: Observers<D>,
    hooks: Hooks,
}

impl Namespace {
    /// A namespace that anyone may connect to. The path begins with a slash; `/` is the one that clients connect
    /// to by default.
    ///
    /// # Panics
    ///
    /// Panics if the path does not begin with a slash, or holds a comma.
    #[track_caller]
    pub fn new(path: impl Into<String>) -> Self {
        Namespace::with_auth(path, async |_| Ok::<_, ConnectError>(()))
    }
}

impl<D: Clone + Send + Sync + 'static> Namespace<D> {
    /// A namespace that anyone may connect to, whose sockets all have a clone of `data`: the state of the application,
    /// mostly as an `Arc`.
    ///
    /// # Panics
    ///
    /// As [`Namespace::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use socketio::{Ack, Namespace};
    ///
    /// let visits = Arc::new(AtomicU64::new(0));
    /// let counter = Namespace::with_data("/", visits)
    ///     .on_unit("visit", async |socket| Ack(socket.data().fetch_add(1, Ordering::Relaxed) + 1));
    /// ```
    #[track_caller]
    pub fn with_data(path: impl Into<String>, data: D) -> Self {
        Self::with_auth(path, async move |_| Ok::<_, ConnectError>(data))
    }
}

impl<D: Send + Sync + 'static> Namespace<D> {
    /// A namespace whose clients are admitted by `admit`: what it returns is the [data](Socket::data) of the socket,
    /// or the refusal that the client gets as `connect_error`. Any error becomes a [`ConnectError`] by `?`.
    ///
    /// There is no socket before the client is admitted, so nothing can be emitted to it too early: what
    /// [`on_connect`](Self::on_connect) emits comes after the answer to its CONNECT. If the client leaves first, the
    /// future is dropped.
    ///
    /// Connection middleware is a function that calls functions, with `?` between them, and each hands on what it has
    /// found out. Node: `namespace.use`.
    ///
    /// # Panics
    ///
    /// As [`Namespace::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Handshake, Namespace, ConnectError};
    ///
    /// struct User { name: String }
    ///
    /// fn only_from_home(handshake: &Handshake) -> Result<(), ConnectError> {
    ///     match handshake.header("origin") {
    ///         Some("https://home.example") => Ok(()),
    ///         _ => Err(ConnectError::new("not from here")),
    ///     }
    /// }
    ///
    /// async fn user_of(handshake: &Handshake) -> Result<User, ConnectError> {
    ///     // A look into the database, for example.
    ///     Ok(User { name: handshake.auth()? })
    /// }
    ///
    /// async fn sign_in(handshake: Handshake) -> Result<User, ConnectError> {
    ///     only_from_home(&handshake)?;
    ///     user_of(&handshake).await
    /// }
    ///
    /// let chat = Namespace::with_auth("/chat", sign_in);
    /// ```
    #[track_caller]
    pub fn with_auth<F, Fut, E>(path: impl Into<String>, admit: F) -> Self
    where
        F: FnOnce(Handshake) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<D, E>> + Send + 'static,
        E: Into<ConnectError>,
    {
        let path = path.into();
        assert!(path.starts_with('/'), "the path of a namespace begins with a slash: `{path}`");
        assert!(!path.contains(','), "a comma ends the path of a namespace on the wire: `{path}`");
        let admit: Admit<D> = Box::new(move |handshake| {
            let admit = admit.clone();
            Box::pin(async move { admit(handshake).await.map_err(Into::into) })
        });
        let (table, observers) = (Table::new(&path, admit), Observers::default());
        let hooks = Hooks { metrics: NamespaceMetrics::new(&path), ..Hooks::default() };
        Self { path: path.into(), slow_consumer: None, table, observers, hooks }
    }

    /// Registers the handler of an event.
    ///
    /// For the arguments, see [`FromArgs`]; for what may be returned, [`IntoAck`]. Arguments that do not fit are
    /// answered with an error and logged, and the handler does not run. The function is cloned for each event, so
    /// a closure may move what it has captured.
    ///
    /// # Panics
    ///
    /// Panics if the event has a handler already, or if its name is reserved: for `connection` and `disconnect` there
    /// are [`on_connect`](Self::on_connect) and [`on_disconnect`](Self::on_disconnect).
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
        if let Some(hook) = hook_of(name) {
            panic!("`{name}` is no event of a client: register the hook with `Namespace::{hook}`");
        }
        assert!(!is_reserved(name), "the name `{name}` is reserved: no client can emit it");
        match self.table.events.entry(name.into()) {
            Entry::Occupied(_) => panic!("event `{name}` of namespace `{}` has a handler already", self.path),
            Entry::Vacant(slot) => {
                let metrics = EventMetrics::new(&self.path, name);
                slot.insert(dispatch::handler(handler, |event| T::from_args(event.raw), metrics))
            }
        };
        self
    }

    /// As [`on`](Self::on), for an event without arguments: the handler takes the socket alone.
    ///
    /// # Panics
    ///
    /// As [`on`](Self::on).
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Ack, Namespace};
    ///
    /// let chat = Namespace::new("/").on_unit("who am I", async |socket| Ack(socket.id().to_owned()));
    /// ```
    #[track_caller]
    pub fn on_unit<F, Fut>(self, event: impl EventName<()>, handler: F) -> Self
    where
        F: FnOnce(Socket<D>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoAck,
    {
        self.on(event, |socket, ()| handler(socket))
    }

    /// Handles all events that have no handler of their own, for proxies and for whoever does not know the names
    /// beforehand. What it returns is the acknowledgement, as of any handler.
    ///
    /// # Panics
    ///
    /// Panics if there is one already.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Event, Namespace};
    ///
    /// // Passes on whatever comes, under its name.
    /// let relay = Namespace::new("/").fallback(async |socket, event: Event| {
    ///     socket.broadcast().emit(event.name, &event.args)
    /// });
    /// ```
    #[track_caller]
    pub fn fallback<F, Fut>(mut self, handler: F) -> Self
    where
        F: FnOnce(Socket<D>, Event) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoAck,
    {
        assert!(self.table.fallback.is_none(), "namespace `{}` has a fallback already", self.path);
        self.table.fallback = Some(dispatch::handler(handler, Event::read, self.table.other.clone()));
        self
    }

    /// Wraps a function around all handlers of the namespace: event middleware. The first that is registered is the
    /// outermost. Node: `socket.use`.
    ///
    /// It sees every event, also one that has no handler; may look at it, change it, or measure how long the
    /// [`Next`] takes; and sees what was answered. What it returns instead, an error or an
    /// [acknowledgement](IntoAck), is the answer, and the handler does not run. Without middleware the arguments go
    /// straight into the types of the handlers; with it they are [`Args`] on the way.
    ///
    /// It starts in the order in which the events of a socket arrive. A handler starts when all middleware around it has
    /// come to [`Next::run`], so middleware that awaits something before lets a later event overtake.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{EventError, Namespace};
    ///
    /// let chat = Namespace::new("/")
    ///     .wrap(async |_, event, next| {
    ///         let (name, start) = (event.name.clone(), std::time::Instant::now());
    ///         let answer = next.run(event).await;
    ///         println!("{name} took {:?}, ok: {}", start.elapsed(), answer.is_ok());
    ///         answer
    ///     })
    ///     .wrap(async |_, event, next| {
    ///         if event.name.starts_with("admin:") {
    ///             return Err(EventError::public("not allowed"));
    ///         }
    ///         next.run(event).await
    ///     })
    ///     .on("say", async |socket, text: String| socket.broadcast().emit("said", &text));
    /// ```
    pub fn wrap<F, Fut>(mut self, middleware: F) -> Self
    where
        F: FnOnce(Socket<D>, Event, Next<D>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoAck,
    {
        self.table.middleware.push(middleware::middleware(middleware));
        self
    }

    /// Runs a function for each new socket, before any of its events is handled: they wait until it has returned.
    /// What goes on for longer belongs into a task of its own. An error that it returns is logged, and the socket stays.
    /// Node: the `connection` event.
    ///
    /// # Panics
    ///
    /// Panics if there is one already.
    #[track_caller]
    pub fn on_connect<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(Socket<D>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output: HookResult> + Send + 'static,
    {
        assert!(self.table.connected.is_none(), "namespace `{}` has a connect hook already", self.path);
        let path = self.path.clone();
        self.table.connected = Some(Box::new(move |socket, key| {
            let hook = hook.clone();
            dispatch::hook("connect", &path, async move { hook(socket).await }, Done::Connected(key))
        }));
        self
    }

    /// Runs a function once for each socket that has left, after its handlers have returned; those that take longer
    /// than [`disconnect_grace`](field@crate::ServerConfig::disconnect_grace) are not waited for. An error that it
    /// returns is logged. Node: the `disconnect` event.
    ///
    /// # Panics
    ///
    /// Panics if there is one already.
    #[track_caller]
    pub fn on_disconnect<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(Socket<D>, DisconnectReason) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output: HookResult> + Send + 'static,
    {
        assert!(self.table.disconnected.is_none(), "namespace `{}` has a disconnect hook already", self.path);
        let path = self.path.clone();
        self.table.disconnected = Some(Box::new(move |socket, reason, key| {
            let hook = hook.clone();
            let run = async move { hook(socket, reason).await };
            dispatch::hook("disconnect", &path, run, Done::Disconnected(key))
        }));
        self
    }

    /// Calls a function once for each socket that is about to leave, whoever ends it: the socket is still in its
    /// [rooms](Socket::rooms). Node: the event `disconnecting`.
    ///
    /// It is called by whoever ends the socket, on that thread, so it must not block; what takes longer belongs into
    /// [`on_disconnect`](Self::on_disconnect). A panic, or an error that it returns, is logged, and the socket leaves all
    /// the same.
    ///
    /// # Panics
    ///
    /// Panics if there is one already.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{DisconnectReason, Namespace, Socket};
    ///
    /// let chat = Namespace::new("/").on_disconnecting(|socket: &Socket, reason: DisconnectReason| {
    ///     let mut rooms = socket.rooms().into_iter();
    ///     rooms.try_for_each(|room| socket.to(room).emit("left", &(socket.id(), reason.as_str())))
    /// });
    /// ```
    #[track_caller]
    pub fn on_disconnecting<F, R>(mut self, observer: F) -> Self
    where
        F: Fn(&Socket<D>, DisconnectReason) -> R + Send + Sync + 'static,
        R: HookResult,
    {
        let slot = &mut self.observers.disconnecting;
        assert!(slot.is_none(), "namespace `{}` has a disconnecting hook already", self.path);
        *slot = Some(Box::new(move |socket, reason| {
            hook_returned("disconnecting", socket.path(), observer(socket, reason).into_result());
        }));
        self
    }

    /// Calls a function for each event that comes, before its handler and whether it has one or not. Several are
    /// called in the order of their registration. Node: `socket.onAny`.
    ///
    /// It must not block. A panic is logged, and the event is handled all the same. A namespace without such a
    /// function spends nothing on it.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Args, Namespace, Socket};
    ///
    /// let chat = Namespace::new("/").on_any(|socket: &Socket, event: &str, args: &Args| {
    ///     println!("{} sent {event} {}", socket.id(), args.json());
    /// });
    /// ```
    pub fn on_any<F>(mut self, observer: F) -> Self
    where
        F: Fn(&Socket<D>, &str, &Args) + Send + Sync + 'static,
    {
        self.observers.incoming.push(Box::new(observer));
        self
    }

    /// Calls a function for each event that is sent to a socket, by itself or as one of many in a broadcast, once it is
    /// queued. Several are called in the order of their registration. Node: `socket.onAnyOutgoing`.
    ///
    /// Acknowledgements are not events. It is called by whoever emits, on that thread, so it must not block; mind that
    /// an event that it emits itself is shown to it too. A panic is logged. A namespace without such a function spends
    /// nothing on it.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Args, Namespace, Socket};
    ///
    /// let chat = Namespace::new("/").on_any_outgoing(|socket: &Socket, event: &str, args: &Args| {
    ///     println!("{} gets {event} {}", socket.id(), args.json());
    /// });
    /// ```
    pub fn on_any_outgoing<F>(mut self, observer: F) -> Self
    where
        F: Fn(&Socket<D>, &str, &Args) + Send + Sync + 'static,
    {
        self.observers.outgoing.push(Box::new(observer));
        self
    }

    /// The most handlers of one socket that run at once. 256 by default; further events wait, see
    /// [`max_waiting_bytes`](field@crate::ServerConfig::max_waiting_bytes). With 1, each event is handled after the one
    /// before. Acknowledgements of the client do not wait for handlers, and with more than 1, a handler that waits for an
    /// acknowledgement of its own client does not count.
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

    /// What happens to events for clients that do not take those before, in this namespace. As
    /// [`EngineConfig::slow_consumer`](field@crate::EngineConfig::slow_consumer) says by default.
    ///
    /// Acknowledgements, and events that ask for one, are never dropped: a client that lets too many of them wait is
    /// disconnected all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Namespace, SlowConsumerPolicy};
    ///
    /// let positions = Namespace::new("/positions").slow_consumer(SlowConsumerPolicy::DropOldest);
    /// ```
    pub fn slow_consumer(mut self, policy: SlowConsumerPolicy) -> Self {
        self.slow_consumer = Some(policy);
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
        self.hooks.share = Some(|socket| data_of::<D>(socket).map(serde_json::to_string));
        self
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The names of the events that have a handler.
    #[cfg(feature = "typescript")]
    pub(crate) fn events(&self) -> impl Iterator<Item = &str> {
        self.table.events.keys().map(|name| &**name)
    }

    /// What all namespaces that are made of this one share, and what makes one out of its adapter.
    pub(crate) fn into_host(
        self,
    ) -> (Arc<Hooks>, impl Fn(Adapter) -> Arc<dyn Endpoint> + Send + Sync + 'static) {
        let Self { slow_consumer, table, observers, hooks, .. } = self;
        let (table, observers, hooks) = (Arc::new(table), Arc::new(observers), Arc::new(hooks));
        let shared = hooks.clone();
        let host = move |adapter: Adapter| {
            let mut adapter = adapter.with_hooks(hooks.clone());
            adapter.is_observed = !observers.outgoing.is_empty();
            if let Some(policy) = slow_consumer {
                adapter.slow_consumer = policy;
            }
            let adapter = Arc::new(adapter);
            Arc::new(NamespaceEndpoint { adapter, table: table.clone(), observers: observers.clone() }) as _
        };
        (shared, host)
    }
}

impl<D> fmt::Debug for Namespace<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: Vec<&str> = self.table.events.keys().map(|name| &**name).collect();
        f.debug_struct("Namespace").field("path", &self.path).field("events", &events).finish_non_exhaustive()
    }
}

/// The method that stands for an event of Node's server.
fn hook_of(event: &str) -> Option<&'static str> {
    match event {
        "connect" | "connection" => Some("on_connect"),
        "disconnect" => Some("on_disconnect"),
        "disconnecting" => Some("on_disconnecting"),
        _ => None,
    }
}
