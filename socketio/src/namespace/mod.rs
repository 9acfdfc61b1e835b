//! Namespaces: the builder [`Namespace`], its handlers and middleware, and the endpoint that serves clients
//! with them. May import `handles` and the folders below it (`hub`, `metrics`, `event`, `config`, `proto`);
//! not `registry`, `connection`, `server`, `testing` or `typescript`.

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
        socket::{Socket, downcast_data},
    },
    hub::{Adapter, Hooks, room_events::RoomEvent},
    metrics::{EventMetrics, NamespaceMetrics, log::hook_returned},
    namespace::{
        dispatch::{Completed, Endpoint},
        endpoint::NamespaceEndpoint,
        middleware::{Event, Next},
        table::{AdmitFn, HandlerTable},
    },
    proto::{args::FromArgs, packet::is_reserved},
};

/// A namespace with its handlers, which are registered once and not for each socket.
///
/// `D` is the data of each socket, which the admission returned. Handlers are async functions of a [`Socket`]
/// and the arguments of the event; their return value is the acknowledgement.
///
/// The handlers of one socket start in the order in which its events arrive, and may run concurrently, at
/// most [`max_in_flight`](Self::max_in_flight) at once; further events are queued.
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
    table: HandlerTable<D>,
    observers: Observers<D>,
    hooks: Hooks,
}

impl Namespace {
    /// Makes a namespace that anyone may connect to. The path begins with a slash; clients connect to `/` by
    /// default.
    ///
    /// # Panics
    ///
    /// Panics if the path does not begin with a slash, or contains a comma.
    #[track_caller]
    pub fn new(path: impl Into<String>) -> Self {
        Namespace::with_auth(path, async |_| Ok::<_, ConnectError>(()))
    }
}

impl<D: Clone + Send + Sync + 'static> Namespace<D> {
    /// Makes a namespace that anyone may connect to, whose sockets all have a clone of `data`: the state of
    /// the application, usually an `Arc`.
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
    /// Makes a namespace that admits clients by `admit`. It returns the [data](Socket::data) of the socket,
    /// or the error that the client receives as `connect_error`. `?` converts any error into a
    /// [`ConnectError`].
    ///
    /// The socket does not exist before the client is admitted, so no event can precede the response to its
    /// CONNECT, including events that [`on_connect`](Self::on_connect) emits. If the client disconnects
    /// first, the future is dropped.
    ///
    /// Connection middleware is a chain of function calls with `?` between them, each passing its result to
    /// the next. Node: `namespace.use`.
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
    ///     // A database lookup, for example.
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
        let admit: AdmitFn<D> = Box::new(move |handshake| {
            let admit = admit.clone();
            Box::pin(async move { admit(handshake).await.map_err(Into::into) })
        });
        let (table, observers) = (HandlerTable::new(&path, admit), Observers::default());
        let hooks = Hooks { metrics: NamespaceMetrics::new(&path), ..Hooks::default() };
        Self { path: path.into(), slow_consumer: None, table, observers, hooks }
    }

    /// Registers the handler of an event.
    ///
    /// For the arguments, see [`FromArgs`]; for the return value, see [`IntoAck`]. Arguments of the wrong
    /// type are acknowledged with an error and logged, and the handler does not run. The function is cloned
    /// for each event, so a closure may move its captures.
    ///
    /// # Panics
    ///
    /// Panics if the event already has a handler, or if its name is reserved. Use
    /// [`on_connect`](Self::on_connect) and [`on_disconnect`](Self::on_disconnect) for `connection` and
    /// `disconnect`.
    #[track_caller]
    pub fn on<T, F, Fut>(mut self, event: impl EventName<T>, handler: F) -> Self
    where
        F: FnOnce(Socket<D>, T) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoAck,
        T: FromArgs + Send + 'static,
    {
        let name = event.name();
        if let Some(hook) = hook_method(name) {
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

    /// As [`on`](Self::on), for an event without arguments: the handler takes only the socket.
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

    /// Handles all events without a handler of their own, for proxies and other code that does not know the
    /// names in advance. The return value is the acknowledgement, as in any handler.
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has a fallback.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Event, Namespace};
    ///
    /// // Forwards each event under its name.
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

    /// Wraps a function around all handlers of the namespace: event middleware. The first one registered is
    /// the outermost. Node: `socket.use`.
    ///
    /// It runs for every event, including those without a handler. It may read or change the event, measure
    /// the time of [`Next::run`], and read the response. If it returns an error or an
    /// [acknowledgement](IntoAck) instead of calling `Next::run`, that is the response, and the handler does
    /// not run. Without middleware the arguments are decoded directly into the types of the handlers; with
    /// middleware they are [`Args`] in between.
    ///
    /// Middleware starts in the order in which the events of a socket arrive. A handler starts when all
    /// middleware around it has called [`Next::run`], so a later event may overtake one whose middleware
    /// awaits before that call.
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

    /// Runs a function for each new socket before any of its events is handled; events are queued until it
    /// returns. Spawn a task for longer work. An error is logged, and the socket stays connected. Node: the
    /// `connection` event.
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has a connect hook.
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
            dispatch::hook("connect", &path, async move { hook(socket).await }, Completed::Connected(key))
        }));
        self
    }

    /// Runs a function once for each socket that has left, after its handlers have returned. Handlers that
    /// take longer than [`disconnect_grace`](field@crate::ServerConfig::disconnect_grace) are not waited for.
    /// An error is logged. Node: the `disconnect` event.
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has a disconnect hook.
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
            dispatch::hook("disconnect", &path, run, Completed::Disconnected(key))
        }));
        self
    }

    /// Calls a function once for each socket that is about to leave, for any reason: the socket is still in
    /// its [rooms](Socket::rooms). Node: the event `disconnecting`.
    ///
    /// It runs on the thread that disconnects the socket, so it must not block; do longer work in
    /// [`on_disconnect`](Self::on_disconnect). A panic or an error is logged, and the socket leaves
    /// regardless.
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has a disconnecting hook.
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

    /// Calls a function for each incoming event before its handler, including events without a handler.
    /// Several functions are called in the order of their registration. Node: `socket.onAny`.
    ///
    /// It must not block. A panic is logged, and the event is handled regardless. A namespace without such a
    /// function has no overhead.
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

    /// Calls a function for each event that is sent to a socket, individually or by a broadcast, after it is
    /// queued. Several functions are called in the order of their registration. Node: `socket.onAnyOutgoing`.
    ///
    /// Acknowledgements are not events. The function runs on the thread that emits, so it must not block. It
    /// is also called for events that it emits itself. A panic is logged. A namespace without such a function
    /// has no overhead.
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

    /// Sets how many handlers of one socket may run at once. 256 by default; further events are queued, see
    /// [`max_waiting_bytes`](field@crate::ServerConfig::max_waiting_bytes). With 1, each event is handled
    /// after the previous one. Acknowledgements of the client are processed without waiting for handlers.
    /// With more than 1, a handler that waits for an acknowledgement of its own client does not count.
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

    /// Sets the policy for events to clients that do not keep up, in this namespace.
    /// [`EngineConfig::slow_consumer`](field@crate::EngineConfig::slow_consumer) by default.
    ///
    /// Acknowledgements, and events that request one, are never dropped: a client that leaves too many of
    /// them unread is disconnected under any policy.
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

    /// Registers the handler of an event that other servers of the cluster send with
    /// [`server_side_emit`](BroadcastOperator::server_side_emit). It receives the sockets of this namespace,
    /// to emit to, and the arguments. Its return value is the answer, if the other server requested one.
    ///
    /// Handlers start in the order in which the events of one server arrive, and may run concurrently. Node:
    /// `io.on(event)`.
    ///
    /// # Panics
    ///
    /// Panics if the event already has such a handler, or if its name is reserved.
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

    /// Calls a function for each change of the rooms of this namespace on this server: creation before the
    /// first join, deletion after the last leave, including those by connection and disconnection. Node: the
    /// events of `namespace.adapter`.
    ///
    /// Calls happen one at a time and in order, on a thread that changes rooms and without a lock: the
    /// function must not block, and may join and leave rooms itself. If more than
    /// [`max_room_events`](field@crate::ServerConfig::max_room_events) are queued, further ones are lost and
    /// [`RoomEvent::Missed`] reports their number. Without such a function no events are recorded.
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has a room hook.
    #[track_caller]
    pub fn on_room(mut self, hook: impl Fn(RoomEvent) + Send + Sync + 'static) -> Self {
        assert!(self.hooks.room.is_none(), "namespace `{}` has a room hook already", self.path);
        self.hooks.room = Some(Box::new(hook));
        self
    }

    /// Shares the [data](Socket::data) of the sockets with [`RemoteSocket::data`](crate::RemoteSocket::data),
    /// on other servers and on this one: it is serialized as JSON when sockets are fetched. Not shared by
    /// default. Node always shares `socket.data`.
    pub fn share_data(mut self) -> Self
    where
        D: Serialize,
    {
        self.hooks.share = Some(|socket| downcast_data::<D>(socket).map(serde_json::to_string));
        self
    }

    /// Returns the path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the names of the events that have a handler.
    #[cfg(feature = "typescript")]
    pub(crate) fn events(&self) -> impl Iterator<Item = &str> {
        self.table.events.keys().map(|name| &**name)
    }

    /// Returns the hooks shared by all namespaces made from this one, and a function that makes such a
    /// namespace from its adapter.
    pub(crate) fn into_factory(
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

/// Returns the name of the method that replaces an event of Node's server.
fn hook_method(event: &str) -> Option<&'static str> {
    match event {
        "connect" | "connection" => Some("on_connect"),
        "disconnect" => Some("on_disconnect"),
        "disconnecting" => Some("on_disconnecting"),
        _ => None,
    }
}
