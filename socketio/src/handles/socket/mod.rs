//! The handle of a client in a namespace.

mod rooms;

use std::{fmt, future::Future, sync::Arc};

use engineio::{SessionHandle, Sid, SlowConsumerPolicy};
use tokio::sync::oneshot;

use crate::{
    event::{EventName, error::EmitError, handshake::Handshake, legacy::is_legacy},
    handles::{
        ack::{AckRequest, PendingAck},
        broadcast::BroadcastOperator,
        emit::EmitOperator,
        observers::Observers,
        session::Session,
        sockets::Sockets,
        typed::{Data, Typed},
    },
    hub::{
        Adapter, Flags,
        acks::{AckWaiter, PendingAcks},
        lifecycle::Lifecycle,
        recovery::Recoverable,
        rooms::{Room, Rooms, Slot},
        sending::encode_event,
        socket_core::{AnySocket, ConnectionSignals, Erased, SocketCore},
    },
    metrics::log::Limit,
    proto::{args::ToArgs, encode::Frames},
};

/// The connection, the namespace and the handshake from which a new socket is created.
pub(crate) struct SocketParts<D> {
    pub(crate) session: SessionHandle,
    pub(crate) signals: Arc<ConnectionSignals>,
    pub(crate) adapter: Arc<Adapter>,
    pub(crate) handshake: Handshake,
    pub(crate) observers: Arc<Observers<D>>,
}

impl<D> Clone for SocketParts<D> {
    fn clone(&self) -> Self {
        Self {
            session: self.session.clone(),
            signals: self.signals.clone(),
            adapter: self.adapter.clone(),
            handshake: self.handshake.clone(),
            observers: self.observers.clone(),
        }
    }
}

/// Returns the data of an untyped socket, or `None` if the data is not a `D`.
pub(crate) fn downcast_data<D: Send + Sync + 'static>(socket: &SocketCore<dyn Erased>) -> Option<&D> {
    socket.typed.as_any().downcast_ref::<Typed<D>>().map(|typed| &*typed.data)
}

/// A client in a namespace, with the [data](Self::data) that the [auth function](crate::Namespace::with_auth)
/// of the namespace returned. Cheap to clone.
///
/// # Examples
///
/// ```
/// use socketio::{Ack, EventError, Socket};
///
/// struct User { name: String }
///
/// async fn say(socket: Socket<User>, (room, text): (String, String)) -> Result<Ack<usize>, EventError> {
///     socket.to(room).emit("said", &(&socket.data().name, &text))?;
///     Ok(Ack(text.len()))
/// }
/// ```
pub struct Socket<D = ()>(pub(crate) Arc<SocketCore<Typed<D>>>);

impl<D> Clone for Socket<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D> fmt::Debug for Socket<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id.as_str())
            .field("path", &self.0.path())
            .finish_non_exhaustive()
    }
}

impl<D: Send + Sync + 'static> Socket<D> {
    /// Returns the typed socket, or `None` if the data of the socket is not a `D`.
    pub(crate) fn downcast(socket: &AnySocket) -> Option<Self> {
        socket.typed.as_any().downcast_ref::<Typed<D>>()?.this.upgrade().map(Self)
    }

    pub(crate) fn new(parts: SocketParts<D>, data: D) -> Self {
        if !parts.adapter.is_recoverable() || is_legacy(&parts.session) {
            return Self::from_parts(parts, Sid::random(), Data::Own(data), None);
        }
        let data = Arc::new(data);
        let recoverable = Recoverable::new(data.clone());
        Self::from_parts(parts, Sid::random(), Data::Shared(data), Some(recoverable))
    }

    pub(crate) fn from_parts(
        parts: SocketParts<D>,
        id: Sid,
        data: Data<D>,
        recoverable: Option<Recoverable>,
    ) -> Self {
        let SocketParts { session, signals, adapter, handshake, observers } = parts;
        Self(Arc::new_cyclic(|this| SocketCore {
            id,
            lifecycle: Lifecycle::default(),
            session,
            signals,
            adapter,
            handshake,
            acks: PendingAcks::default(),
            recoverable: recoverable.map(Box::new),
            typed: Typed { data, observers, this: this.clone() },
        }))
    }

    /// Sends the CONNECT response, and then adds the socket to the namespace. In this order, no event can
    /// precede the response.
    pub(crate) fn enter(&self) -> Result<(), EmitError> {
        let inner = &self.0;
        if inner.lifecycle.slot().is_some() {
            // The socket is recovered. `restore` has already sent the response and inserted the socket.
            return Ok(());
        }
        inner.session.send_with(self.connect_response()?.as_slice(), SlowConsumerPolicy::Disconnect)?;
        inner.adapter.change(|rooms, memory| {
            if let (Some(memory), Some(recoverable)) = (memory, inner.recoverable()) {
                recoverable.enter(memory, self.any());
            }
            self.insert(rooms);
        });
        inner.metrics().socket_joined();
        Ok(())
    }

    /// Encodes the response to the CONNECT packet of the client.
    pub(crate) fn connect_response(&self) -> Result<Frames, EmitError> {
        let inner = &self.0;
        let answer = if is_legacy(&inner.session) {
            inner.encoder().connect_legacy()
        } else {
            let pid = inner.recoverable().map(|recoverable| recoverable.pid.as_str());
            inner.encoder().connect(inner.id.as_str(), pid)
        };
        answer.map_err(EmitError::encode)
    }

    /// Counts a recovered socket as joined in the metrics.
    pub(crate) fn count(&self) {
        self.0.metrics().socket_joined();
    }

    /// Inserts the socket into the rooms, which makes it visible to broadcasts and to other sockets. Called
    /// once.
    pub(crate) fn insert(&self, rooms: &mut Rooms<AnySocket>) -> Slot {
        self.0.lifecycle.join(|| rooms.insert(self.0.id, self.any()))
    }

    pub(crate) fn observers(&self) -> &Observers<D> {
        &self.0.typed.observers
    }

    pub(crate) fn any(&self) -> AnySocket {
        self.0.clone()
    }

    /// Returns the sockets of the namespace on this server, including this socket, with their data.
    pub fn sockets(&self) -> Sockets<D> {
        Sockets::new(self.0.adapter.clone())
    }

    /// Sends an event to this client immediately and returns a request for the acknowledgement. The event is
    /// sent even if the request is not awaited.
    ///
    /// The acknowledgement is decoded as `A` by the rules of [`FromArgs`](crate::FromArgs).
    ///
    /// # Errors
    ///
    /// The request resolves to an [`AckError`](crate::AckError): `Timeout` after the
    /// [timeout](AckRequest::timeout), `Disconnected` if the socket disconnects before the acknowledgement
    /// arrives, `Decode` if the acknowledgement is not an `A`, and `Emit` if the event could not be sent.
    ///
    /// # Cancel safety
    ///
    /// See [`AckRequest`].
    pub fn emit_with_ack<A, T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> AckRequest<A> {
        AckRequest::new(self.ask(event.name(), args), self.0.adapter.config.ack_timeout)
    }

    /// Sends an event to this client, and waits while the queue of the client is full. Waiting applies
    /// backpressure to the caller, so the producer of a long stream is limited to the speed of the client.
    ///
    /// The arguments are encoded before the future is polled. Waiting calls on one connection complete in
    /// order. [`emit`](Self::emit) does not wait, and uses free space in the queue ahead of waiting calls.
    /// Node.js has no equivalent.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit), except [`EmitError::Full`]. If the socket disconnects
    /// during the wait, returns [`EmitError::Disconnected`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the event is not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{EmitError, Socket};
    ///
    /// async fn export(socket: &Socket, rows: Vec<String>) -> Result<(), EmitError> {
    ///     for row in &rows {
    ///         socket.emit_wait("row", row).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn emit_wait<T: ToArgs + ?Sized>(
        &self,
        event: impl EventName<T>,
        args: &T,
    ) -> impl Future<Output = Result<(), EmitError>> + Send {
        let frames = encode_event(self.0.encoder(), event.name(), None, args);
        async move { self.0.send_wait(&frames?).await }
    }

    fn ask<T: ToArgs + ?Sized>(&self, event: &str, args: &T) -> Result<PendingAck, EmitError> {
        let id = self.0.adapter.next_ack();
        let frames = encode_event(self.0.encoder(), event, Some(id), args)?;
        let (sender, answer) = oneshot::channel();
        let max = self.0.adapter.config.max_pending_acks;
        self.0.acks.insert(id, AckWaiter::Request(sender), max).inspect_err(|_| {
            self.0.warnings().limit_hit(self.path(), Limit::MaxPendingAcks);
        })?;
        // From here on, dropping `pending` removes the pending acknowledgement.
        let pending = PendingAck { socket: self.any(), id, answer };
        // The drop policies do not apply, because the caller waits for the acknowledgement.
        self.0.send(&frames)?;
        self.0.notify_observers(&frames);
        Ok(pending)
    }
}

impl<D> Socket<D> {
    /// Returns the public id of the socket. The id is not secret, and may be disclosed to other clients. The
    /// socket is a member of the room named after the id.
    ///
    /// A version 2 client computes a different `socket.id`, derived from the id of the
    /// [session](Self::session), which this server treats as a secret. If a version 2 client needs the public
    /// id, emit the id to the client.
    pub fn id(&self) -> &str {
        self.0.id.as_str()
    }

    /// Returns the value that the [auth function](crate::Namespace::with_auth) of the namespace returned for
    /// this client.
    ///
    /// The handlers of the socket share the data and may run concurrently. Keep mutable state in atomics, or
    /// behind a lock that is not held across an await. Equivalent to `socket.data` in Node.js.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Mutex, PoisonError, atomic::{AtomicU32, Ordering}};
    /// use socketio::{Ack, Namespace, ConnectError};
    ///
    /// #[derive(Default)]
    /// struct Player { name: Mutex<String>, moves: AtomicU32 }
    ///
    /// let game = Namespace::with_auth("/game", async |_| Ok::<_, ConnectError>(Player::default()))
    ///     .on("rename", async |socket, name: String| {
    ///         *socket.data().name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    ///     })
    ///     .on("move", async |socket, ()| Ack(socket.data().moves.fetch_add(1, Ordering::Relaxed) + 1));
    /// ```
    pub fn data(&self) -> &D {
        &self.0.typed.data
    }

    /// Returns the handshake of the client.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// Returns the path of the namespace. Equivalent to `socket.nsp.name` in Node.js.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Returns `true` while the socket is in its namespace. Equivalent to `socket.connected` in Node.js.
    pub fn connected(&self) -> bool {
        self.0.lifecycle.left().is_none()
    }

    /// Returns `true` if the client lost its connection and this socket recovers the previous socket of the
    /// client. A recovered socket has the id, the [data](Self::data) and the rooms of the previous socket,
    /// and the client receives the events that it missed. Recovery is off by default; see
    /// [`ConnectionStateRecovery`](crate::ConnectionStateRecovery).
    ///
    /// [`on_disconnect`](crate::Namespace::on_disconnect) runs for the previous socket, possibly after the
    /// recovery. [`on_connect`](crate::Namespace::on_connect) runs for the recovered socket. Equivalent to
    /// `socket.recovered` in Node.js.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::Namespace;
    ///
    /// let chat = Namespace::new("/").on_connect(async |socket| {
    ///     if !socket.recovered() {
    ///         // A new socket is in no room yet and has missed earlier events.
    ///         let _ = socket.join("lobby");
    ///     }
    /// });
    /// ```
    pub fn recovered(&self) -> bool {
        self.0.recoverable().is_some_and(|recoverable| recoverable.recovered)
    }

    /// Returns the Engine.IO session, which all sockets of one client share. Equivalent to `socket.conn` in
    /// Node.js.
    pub fn session(&self) -> Session<'_> {
        Session::new(&self.0.session)
    }

    /// Sends an event to this client.
    ///
    /// This method never blocks or waits. `Ok` means that the event is queued; the client may disconnect
    /// before it receives the event. Events that one task emits arrive in the order in which they were
    /// emitted. For the arguments, see [`ToArgs`].
    ///
    /// # Errors
    ///
    /// Returns [`EmitError::Disconnected`] if the socket has left the namespace, [`EmitError::Encode`] if the
    /// arguments cannot be encoded, and [`EmitError::ReservedEvent`] if the name of the event is reserved.
    ///
    /// Returns [`EmitError::Full`] if the queue of the client is full. The event was not sent, and the
    /// connection stays open; see [`SlowConsumerPolicy`](crate::SlowConsumerPolicy).
    pub fn emit<T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        self.0.send_event(encode_event(self.0.encoder(), event.name(), None, args)?, Flags::default())
    }

    /// Drops the next event if it cannot be written immediately, because earlier messages are queued or
    /// because a long-polling client has no pending poll. Equivalent to `socket.volatile` in Node.js.
    pub fn volatile(&self) -> EmitOperator<'_, D> {
        EmitOperator::new(self).volatile()
    }

    /// Sets whether permessage-deflate may compress the next event, provided that it is large enough and the
    /// client negotiated the extension. Defaults to `true`. Equivalent to `socket.compress` in Node.js.
    pub fn compress(&self, compress: bool) -> EmitOperator<'_, D> {
        EmitOperator::new(self).compress(compress)
    }

    /// Selects all sockets in a room except this socket.
    pub fn to(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.broadcast().to(room)
    }

    /// Selects all sockets in the namespace except this socket and the sockets in a room.
    pub fn except(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.broadcast().except(room)
    }

    /// Selects all sockets in the namespace except this socket.
    pub fn broadcast(&self) -> BroadcastOperator {
        self.namespace().except_socket(self.0.id)
    }

    /// Selects all sockets in the namespace, including this socket. Equivalent to `socket.nsp` in Node.js.
    pub fn namespace(&self) -> BroadcastOperator {
        BroadcastOperator::new(Some(self.0.adapter.clone()))
    }

    /// Disconnects this socket from its namespace; the connection stays open for other namespaces.
    ///
    /// Events emitted before this call are still sent; later emits fail. Equivalent to `socket.disconnect()`
    /// in Node.js.
    pub fn disconnect(&self) {
        self.0.disconnect();
    }

    /// Disconnects all sockets of this client and closes the connection. Equivalent to
    /// `socket.disconnect(true)` in Node.js.
    pub fn close(&self) {
        self.0.close();
    }
}
