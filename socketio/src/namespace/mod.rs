//! Namespaces: the builder [`Namespace`], its handlers and middleware, and the endpoint that admits clients.
//! This module may import `handles` and the folders below it (`hub`, `metrics`, `event`, `config`, `proto`),
//! but not `registry`, `connection`, `server`, `testing` or `typescript`.

pub(crate) mod dispatch;
pub(crate) mod endpoint;
pub(crate) mod middleware;
pub(crate) mod restore;
pub(crate) mod server_event;
pub(crate) mod table;

use std::{collections::btree_map::Entry, fmt, future::Future, sync::Arc};

use engineio::SlowConsumerPolicy;
use serde::{Serialize, de::DeserializeOwned};

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
    hub::{Adapter, hooks::Hooks, room_events::RoomEvent},
    metrics::{EventMetrics, NamespaceMetrics, log::hook_returned},
    namespace::{
        dispatch::{Completed, Endpoint},
        endpoint::NamespaceEndpoint,
        middleware::{Event, Next},
        table::{AdmitFn, HandlerTable},
    },
    proto::{args::FromArgs, packet::is_reserved},
};

/// A namespace with its event handlers. Handlers are registered once for all sockets, not for each socket.
///
/// `D` is the type of the [data](Socket::data) of each socket, which the [auth function](Self::with_auth)
/// returns. Handlers are async functions that receive a [`Socket`] and the arguments of the event. The return
/// value of a handler is sent as the acknowledgement.
///
/// The handlers of one socket start in the order in which the events arrive. At most
/// [`max_in_flight`](Self::max_in_flight) handlers of a socket run concurrently; further events are queued.
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
    /// Creates a namespace that accepts all clients. The path must begin with a slash. Clients connect to `/`
    /// by default.
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
    /// Creates a namespace that accepts all clients. Each socket has a clone of `data`, which is usually the
    /// state of the application in an `Arc`.
    ///
    /// # Panics
    ///
    /// Panics under the same conditions as [`Namespace::new`].
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
    /// Creates a namespace with an auth function, which is called for each client that connects. To admit the
    /// client, `admit` returns the [data](Socket::data) of the socket. To reject the client, `admit` returns
    /// an error, which the client receives as `connect_error`. `?` converts any error into a
    /// [`ConnectError`].
    ///
    /// The socket is created after the client is admitted, so no event can precede the response to the
    /// CONNECT packet. This includes events that [`on_connect`](Self::on_connect) emits. If the client
    /// disconnects before the future completes, the future is dropped.
    ///
    /// To compose several checks, call one function after another with `?`. This is the equivalent of
    /// connection middleware (`namespace.use`) in Node.js.
    ///
    /// # Panics
    ///
    /// Panics under the same conditions as [`Namespace::new`].
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
    /// For the arguments, see [`FromArgs`]. For the return value, see [`IntoAck`]. If the arguments are of
    /// the wrong type, the event is logged and acknowledged with an error, and the handler does not run. The
    /// function is cloned for each event, so a closure may move its captures.
    ///
    /// # Panics
    ///
    /// Panics if the event already has a handler, or if its name is reserved. Use
    /// [`on_connect`](Self::on_connect) instead of `connection`, and [`on_disconnect`](Self::on_disconnect)
    /// instead of `disconnect`.
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

    /// Registers the handler of an event without arguments. The handler receives only the socket. Otherwise
    /// equivalent to [`on`](Self::on).
    ///
    /// # Panics
    ///
    /// Panics under the same conditions as [`on`](Self::on).
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

    /// Registers a handler for all events without a registered handler. A fallback handler is useful for
    /// proxies and other code that does not know the event names in advance. The return value is sent as the
    /// acknowledgement, as for any handler.
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has a fallback handler.
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

    /// Adds event middleware, which is a function that wraps all handlers of the namespace. The middleware
    /// that is registered first is the outermost. Equivalent to `socket.use` in Node.js.
    ///
    /// Middleware runs for every event, including events without a handler. It may inspect or modify the
    /// event, measure the duration of [`Next::run`], and inspect the response. If middleware returns an error
    /// or an [acknowledgement](IntoAck) without calling `Next::run`, the returned value is sent as the
    /// response and the handler does not run. Without middleware, the arguments are decoded directly into the
    /// types of the handler. With middleware, the arguments are first copied into [`Args`].
    ///
    /// Middleware starts in the order in which the events of a socket arrive. The handler of an event starts
    /// once all middleware has called [`Next::run`]. If middleware awaits before the call to `Next::run`, a
    /// later event may be handled earlier.
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

    /// Registers a hook that runs for each new socket before the first event of the socket is handled. Events
    /// are queued until the hook returns, so spawn a task for longer work. An error is logged, and the socket
    /// stays connected. Equivalent to the `connection` event in Node.js.
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

    /// Registers a hook that runs once for each socket that has left the namespace, after the handlers of the
    /// socket have returned. The hook waits at most
    /// [`disconnect_grace`](crate::ServerConfig::disconnect_grace) for running handlers. An error is
    /// logged. Equivalent to the `disconnect` event in Node.js.
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

    /// Registers a hook that runs once for each socket that is about to leave the namespace, for any reason.
    /// The socket is still in its [rooms](Socket::rooms). Equivalent to the `disconnecting` event in Node.js.
    ///
    /// The hook runs on the thread that disconnects the socket, so it must not block. Use
    /// [`on_disconnect`](Self::on_disconnect) for longer work. A panic or an error is logged, and the socket
    /// leaves the namespace regardless.
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

    /// Registers a function that is called for each incoming event before the handler, including events
    /// without a handler. Several functions are called in the order of their registration. Equivalent to
    /// `socket.onAny` in Node.js.
    ///
    /// The function must not block. A panic is logged, and the event is handled regardless. Without a
    /// registered function, there is no overhead.
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

    /// Registers a function that is called for each event that is sent to a socket, individually or by a
    /// broadcast, after the event is queued. Several functions are called in the order of their registration.
    /// Equivalent to `socket.onAnyOutgoing` in Node.js.
    ///
    /// The function is not called for acknowledgements. It runs on the thread that emits the event, so it
    /// must not block. It is also called for events that it emits itself. A panic is logged. Without a
    /// registered function, there is no overhead.
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

    /// Sets the maximum number of concurrently running handlers of one socket. Defaults to 256. Further
    /// events are queued; see [`max_waiting_bytes`](crate::ServerConfig::max_waiting_bytes). If the
    /// maximum is 1, events are handled strictly one after the other. Acknowledgements from the client are
    /// processed without waiting for handlers. If the maximum is greater than 1, a handler that waits for an
    /// acknowledgement from its own client does not count toward the maximum.
    ///
    /// # Panics
    ///
    /// Panics if `handlers` is zero.
    #[track_caller]
    pub fn max_in_flight(mut self, handlers: usize) -> Self {
        assert!(handlers > 0, "max_in_flight must not be zero");
        self.table.max_in_flight = handlers;
        self
    }

    /// Sets the policy for events in this namespace to clients that do not read their messages. Defaults to
    /// [`EngineConfig::slow_consumer`](crate::EngineConfig::slow_consumer).
    ///
    /// The policy does not apply to acknowledgements and to events that request an acknowledgement. A client
    /// that does not read them is disconnected under any policy.
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
    /// [`server_side_emit`](BroadcastOperator::server_side_emit). The handler receives a
    /// [`BroadcastOperator`] for this namespace and the arguments of the event. If the other server requested
    /// a response, the return value of the handler is sent as the response.
    ///
    /// Handlers start in the order in which the events of one server arrive, and may run concurrently.
    /// Equivalent to `io.on(event)` in Node.js.
    ///
    /// # Panics
    ///
    /// Panics if a handler is already registered for this event of other servers, or if the name of the event
    /// is reserved.
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

    /// Registers a hook that is called for each change of the rooms of this namespace on this server. A room
    /// is created before the first socket joins, and deleted after the last socket leaves. The hook is also
    /// called for the changes that connecting and disconnecting sockets cause. Equivalent to the events of
    /// `namespace.adapter` in Node.js.
    ///
    /// The hook is called for one change at a time, in order, on a thread that changes rooms, so it must not
    /// block. No lock is held during the call, so the hook may join and leave rooms itself. If more than
    /// [`max_room_events`](crate::ServerConfig::max_room_events) events are queued, further events are
    /// dropped, and [`RoomEvent::Missed`] reports their number. Without a hook, no events are recorded.
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

    /// Makes the [data](Socket::data) of the sockets available through
    /// [`RemoteSocket::data`](crate::RemoteSocket::data), on this server and on other servers. The data is
    /// serialized as JSON when sockets are fetched. By default, the data is not shared. Node.js always shares
    /// `socket.data`.
    pub fn share_data(mut self) -> Self
    where
        D: Serialize,
    {
        self.hooks.share = Some(|socket| downcast_data::<D>(socket).map(serde_json::to_string));
        self
    }

    /// Restores the [data](Socket::data) of sockets that are recovered from another server, from the data
    /// that [`share_data`](Self::share_data) has serialized. Without this function, or if it panics or the
    /// data is not a `T`, the auth function of the namespace is called to create the data.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{ConnectError, Handshake, Namespace};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct User { name: String }
    ///
    /// let sign_in = async |handshake: Handshake| Ok::<_, ConnectError>(User { name: handshake.auth()? });
    /// let chat = Namespace::with_auth("/chat", sign_in).share_data().restore_data(|user: User| user);
    /// ```
    pub fn restore_data<T: DeserializeOwned>(
        mut self,
        restore: impl Fn(T) -> D + Send + Sync + 'static,
    ) -> Self {
        self.table.restore = Some(Box::new(move |json| serde_json::from_str(json).ok().map(&restore)));
        self
    }

    /// Returns the path of the namespace.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the names of the events that have a handler.
    #[cfg(feature = "typescript")]
    pub(crate) fn events(&self) -> impl Iterator<Item = &str> {
        self.table.events.keys().map(|name| &**name)
    }

    /// Returns the hooks of the namespace, and a function that creates an endpoint of the namespace from an
    /// adapter. All endpoints share the hooks.
    pub(crate) fn into_factory(
        self,
    ) -> (Arc<Hooks>, impl Fn(Adapter) -> Arc<dyn Endpoint> + Send + Sync + 'static) {
        let Self { slow_consumer, table, observers, hooks, .. } = self;
        let (table, observers, hooks) = (Arc::new(table), Arc::new(observers), Arc::new(hooks));
        let shared = hooks.clone();
        let host = move |adapter: Adapter| {
            let mut adapter = adapter.with_hooks(hooks.clone());
            adapter.has_outgoing_observer = !observers.outgoing.is_empty();
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

/// Returns the name of the method that replaces an event of the Node.js server.
fn hook_method(event: &str) -> Option<&'static str> {
    match event {
        "connect" | "connection" => Some("on_connect"),
        "disconnect" => Some("on_disconnect"),
        "disconnecting" => Some("on_disconnecting"),
        _ => None,
    }
}
