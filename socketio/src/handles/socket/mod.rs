//! A client in a namespace.

mod rooms;

use std::{
    fmt,
    future::Future,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use engineio::{SessionHandle, Sid, SlowConsumerPolicy};
use tokio::sync::oneshot;

use crate::{
    event::{EventName, error::EmitError, handshake::Handshake, legacy::is_legacy},
    handles::{
        ack::{AckRequest, PendingAck},
        broadcast::BroadcastOperator,
        emit::EmitOperator,
        observers::{Data, Observers, Typed},
        sockets::Sockets,
    },
    hub::{
        Adapter, Flags,
        acks::{AckWaiter, PendingAcks},
        recovery::Recoverable,
        rooms::{Room, Rooms, Slot},
        sending::encode_event,
        socket_core::{AnySocket, ConnectionSignals, Erased, SocketCore},
    },
    metrics::log::Limit,
    proto::{args::ToArgs, encode::Frames},
};

/// What a client brings into a namespace, and finds there.
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

/// The socket of any data, if it is of this type.
pub(crate) fn data_of<D: Send + Sync + 'static>(socket: &SocketCore<dyn Erased>) -> Option<&D> {
    socket.typed.as_any().downcast_ref::<Typed<D>>().map(|typed| &*typed.data)
}

/// A client in a namespace, with the data that its admission returned. Cheap to clone.
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
    /// The socket, if its data is of this type.
    pub(crate) fn from_any(socket: &AnySocket) -> Option<Self> {
        socket.typed.as_any().downcast_ref::<Typed<D>>()?.this.upgrade().map(Self)
    }

    pub(crate) fn new(parts: SocketParts<D>, data: D) -> Self {
        if parts.adapter.recovery.is_none() || is_legacy(&parts.session) {
            return Self::make(parts, Sid::random(), Data::Own(data), None);
        }
        let data = Arc::new(data);
        let recoverable = Recoverable::new(data.clone());
        Self::make(parts, Sid::random(), Data::Shared(data), Some(recoverable))
    }

    pub(crate) fn make(
        parts: SocketParts<D>,
        id: Sid,
        data: Data<D>,
        recoverable: Option<Recoverable>,
    ) -> Self {
        let SocketParts { session, signals, adapter, handshake, observers } = parts;
        Self(Arc::new_cyclic(|this| SocketCore {
            id,
            slot: OnceLock::new(),
            session,
            signals,
            adapter,
            handshake,
            leaving: AtomicBool::new(false),
            left: OnceLock::new(),
            acks: PendingAcks::default(),
            recoverable: recoverable.map(Box::new),
            typed: Typed { data, observers, this: this.clone() },
        }))
    }

    /// Tells the client that it is in the namespace, and puts it there: in this order, so that no event overtakes
    /// the answer.
    pub(crate) fn enter(&self) -> Result<(), EmitError> {
        let inner = &self.0;
        if inner.slot.get().is_some() {
            // The client has come back, and has its answer.
            return Ok(());
        }
        inner.session.send_with(self.connect_answer()?.as_slice(), SlowConsumerPolicy::Disconnect)?;
        inner.adapter.change(|rooms, memory| {
            if let (Some(memory), Some(recoverable)) = (memory, inner.recoverable()) {
                recoverable.enter(memory, self.any());
            }
            self.insert(rooms);
        });
        inner.metrics().socket_joined();
        Ok(())
    }

    /// The answer to the CONNECT of the client.
    pub(crate) fn connect_answer(&self) -> Result<Frames, EmitError> {
        let inner = &self.0;
        let answer = if is_legacy(&inner.session) {
            inner.encoder().connect_legacy()
        } else {
            let pid = inner.recoverable().map(|recoverable| recoverable.pid.as_str());
            inner.encoder().connect(inner.id.as_str(), pid)
        };
        answer.map_err(EmitError::Encode)
    }

    /// Counts a socket that has come back as one that joins.
    pub(crate) fn count(&self) {
        self.0.metrics().socket_joined();
    }

    /// Called once, and before anybody else can find the socket in the rooms.
    pub(crate) fn insert(&self, rooms: &mut Rooms<AnySocket>) -> Slot {
        *self.0.slot.get_or_init(|| rooms.insert(self.0.id, self.any()))
    }

    pub(crate) fn observers(&self) -> &Observers<D> {
        &self.0.typed.observers
    }

    pub(crate) fn any(&self) -> AnySocket {
        self.0.clone()
    }

    /// The sockets of the namespace on this server, this one among them, with their data.
    pub fn sockets(&self) -> Sockets<D> {
        Sockets::new(self.0.adapter.clone())
    }

    /// Sends an event to this client and waits for its acknowledgement. The event leaves at once, awaited or not.
    ///
    /// The answer is read as `A`, by the rule of [`FromArgs`](crate::FromArgs).
    ///
    /// # Errors
    ///
    /// The future resolves to an [`AckError`](crate::AckError): `Timeout` after
    /// [`timeout`](AckRequest::timeout), `Disconnected` if the socket leaves first, `Decode` if the answer is of
    /// another type, `Emit` if the event could not be sent.
    ///
    /// # Cancel safety
    ///
    /// See [`AckRequest`].
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub fn emit_with_ack<A, T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> AckRequest<A> {
        AckRequest::new(self.ask(event.name(), args), self.0.adapter.config.ack_timeout)
    }

    /// Sends an event to this client, and waits for room if it does not take its messages as fast as they come. The
    /// producer of a long stream then runs at the speed of its consumer.
    ///
    /// The arguments are written at once. Of several that wait for one connection, the first comes first;
    /// [`emit`](Self::emit) does not wait for them, and takes the room that there is. Node has no such method.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit), but for [`EmitError::Full`]. [`EmitError::Disconnected`] also if the connection ends
    /// meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Nothing has been sent if the future is dropped before it is ready.
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
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
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
        // From here on, dropping gives the place back.
        let waiting = PendingAck { socket: self.any(), id, answer };
        // It must not be dropped behind the back of the one who waits.
        self.0.send(&frames)?;
        self.0.notify_observers(&frames);
        Ok(waiting)
    }
}

impl<D> Socket<D> {
    /// The public id of the socket: other clients may know it. It is also the name of a room that the socket is in.
    ///
    /// The `socket.id` that a version 2 client computes is another one: it is made of the id of the
    /// [session](Self::session), which is a secret here. Emit this one to such clients if they need to know it.
    pub fn id(&self) -> &str {
        self.0.id.as_str()
    }

    /// What the admission of the [namespace](crate::Namespace::with_auth) returned for this client.
    ///
    /// All handlers of the socket share it, and several may run at once: what changes is an atomic or stands behind a
    /// lock, which is not held across an await. Node: `socket.data`.
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

    /// What the client brought when it connected.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// The path of the namespace. Node: `socket.nsp.name`.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Whether the socket is in its namespace. Node: `socket.connected`.
    pub fn connected(&self) -> bool {
        self.0.left.get().is_none()
    }

    /// Whether the client had lost its connection and has its socket back: with its id, its [data](Self::data) and its
    /// rooms, and with the events that it missed. See
    /// [`ConnectionStateRecovery`](crate::ConnectionStateRecovery), which is off by default.
    ///
    /// [`on_disconnect`](crate::Namespace::on_disconnect) has run or will run for the socket before, and
    /// [`on_connect`](crate::Namespace::on_connect) runs for this one. Node: `socket.recovered`.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::Namespace;
    ///
    /// let chat = Namespace::new("/").on_connect(async |socket| {
    ///     if !socket.recovered() {
    ///         // It is in no room yet, and knows nothing of what went on.
    ///         let _ = socket.join("lobby");
    ///     }
    /// });
    /// ```
    pub fn recovered(&self) -> bool {
        self.0.recoverable().is_some_and(|recoverable| recoverable.recovered)
    }

    /// The connection below, which all sockets of one client share. Node: `socket.conn`.
    pub fn session(&self) -> &SessionHandle {
        &self.0.session
    }

    /// Sends an event to this client.
    ///
    /// Never blocks and never waits: `Ok` means that the event is queued. Events of one task arrive in the order
    /// in which they were emitted; the client may be gone before it sees them. For the arguments, see [`ToArgs`].
    ///
    /// # Errors
    ///
    /// [`EmitError::Disconnected`] after the socket has left, [`EmitError::Full`] if the client does not take its
    /// messages: then it is being disconnected, or this event was dropped, as [`SlowConsumerPolicy`](crate::SlowConsumerPolicy)
    /// says. [`EmitError::Encode`] if the arguments cannot be written, [`EmitError::ReservedEvent`].
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub fn emit<T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        self.0.send_event(encode_event(self.0.encoder(), event.name(), None, args)?, Flags::default())
    }

    /// Lets the next event be lost if the client cannot take it at once: if earlier messages still wait, or if no poll
    /// is parked. Node: `socket.volatile`.
    pub fn volatile(&self) -> EmitOperator<'_, D> {
        EmitOperator::new(self).volatile()
    }

    /// Whether permessage-deflate may compress the next event, if it is large enough and the client agreed to that. It
    /// may unless told otherwise. Node: `socket.compress`.
    pub fn compress(&self, compress: bool) -> EmitOperator<'_, D> {
        EmitOperator::new(self).compress(compress)
    }

    /// Everyone in a room but this socket.
    pub fn to(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.broadcast().to(room)
    }

    /// Everyone in the namespace but this socket and those in a room.
    pub fn except(&self, room: impl Into<Room>) -> BroadcastOperator {
        self.broadcast().except(room)
    }

    /// Everyone in the namespace but this socket.
    pub fn broadcast(&self) -> BroadcastOperator {
        self.namespace().except_socket(self.0.id)
    }

    /// Everyone in the namespace, this socket included. Node: `socket.nsp`.
    pub fn namespace(&self) -> BroadcastOperator {
        BroadcastOperator::new(Some(self.0.adapter.clone()))
    }

    /// Disconnects this socket from its namespace; the connection stays, for other namespaces.
    ///
    /// What was emitted before still goes out, nothing after. Node: `socket.disconnect()`.
    pub fn disconnect(&self) {
        self.0.disconnect();
    }

    /// Disconnects all sockets of this client, and ends its connection. Node: `socket.disconnect(true)`.
    pub fn close(&self) {
        self.0.close();
    }
}
