//! Emitting to many sockets.

use std::{fmt, sync::Arc};

use engineio::Sid;

use crate::{
    adapter::{Adapter, Flags},
    broadcast_ack::BroadcastAckRequest,
    error::{EmitError, JoinError},
    event::EventName,
    proto::{args::ToArgs, packet::MAX_NAME},
    remote_socket::RemoteSocket,
    rooms::{Room, Target},
    socket::encode_event,
};

/// Chooses the sockets that an event goes to. Each gets it once, however many of the rooms it is in.
///
/// # Examples
///
/// ```
/// use socketio::{EmitError, Server};
///
/// fn announce(io: &Server) -> Result<(), EmitError> {
///     io.of("/chat").to("lobby").to("garden").except("muted").emit("news", "Tea is ready.")
/// }
/// ```
#[derive(Clone)]
#[must_use = "nothing is sent before `emit`"]
pub struct BroadcastOperator {
    adapter: Option<Arc<Adapter>>,
    target: Target,
    flags: Flags,
}

impl BroadcastOperator {
    pub(crate) fn new(adapter: Option<Arc<Adapter>>) -> Self {
        Self { adapter, target: Target::default(), flags: Flags::default() }
    }

    pub(crate) fn except_socket(mut self, sid: Sid) -> Self {
        self.target.except_socket = Some(sid);
        self
    }

    /// Adds a room: the event goes to the sockets in any of the rooms, or to all if no room is named. The id of a
    /// socket is a room too.
    pub fn to(mut self, room: impl Into<Room>) -> Self {
        self.target.rooms.push(room.into());
        self
    }

    /// Leaves out the sockets in a room.
    pub fn except(mut self, room: impl Into<Room>) -> Self {
        self.target.except.push(room.into());
        self
    }

    /// Lets the event be lost for clients that cannot take it at once: whose earlier messages still wait, or who
    /// have no poll parked.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Keeps the event on this server, in a cluster.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Whether permessage-deflate may compress the event, if it is large enough and the client agreed to that. It may
    /// unless told otherwise.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Sends the event. It is encoded once, and never waits for any of the clients.
    ///
    /// All members of a room on this server get its broadcasts in the same order. A client that does not take its
    /// messages is disconnected, or misses some, as [`SlowConsumer`](crate::SlowConsumer) says, and disturbs nobody
    /// else.
    ///
    /// # Errors
    ///
    /// [`EmitError::Encode`] if the arguments cannot be written, [`EmitError::ReservedEvent`],
    /// [`EmitError::UnknownNamespace`].
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub fn emit<T: ToArgs + ?Sized>(self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = encode_event(adapter.path(), event.name(), None, args)?;
        let packet = if self.flags.uncompressed { packet.uncompressed() } else { packet };
        adapter.broadcast(&self.target, &packet, self.flags);
        Ok(())
    }

    /// Sends the event, and waits for the acknowledgements of all who get it. It leaves at once, awaited or not.
    ///
    /// The request is a stream of answers, or gives all of them when it is awaited: see [`BroadcastAckRequest`].
    /// They are read as `A`, by the rule of [`FromArgs`](crate::FromArgs). Each counts against
    /// [`max_pending_acks`](field@crate::ServerConfig::max_pending_acks) of its socket: one that owes too many does
    /// not get the event, and is missing with [`EmitError::TooManyAcks`]. One that a volatile event was lost for is
    /// missing with [`EmitError::Full`].
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit): nothing was sent.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub fn emit_with_ack<A, T: ToArgs + ?Sized>(
        self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<BroadcastAckRequest<A>, EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let id = adapter.next_ack();
        let packet = encode_event(adapter.path(), event.name(), Some(id), args)?;
        let owed = adapter.ask(&self.target, &packet, id, self.flags);
        Ok(BroadcastAckRequest::new(owed, adapter.config.ack_timeout))
    }
}

/// What can be done with sockets on this server and on others.
impl BroadcastOperator {
    /// The sockets that an event would go to. None if there is no such namespace.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn list(io: &socketio::Server) {
    /// for socket in io.to("lobby").fetch_sockets().await {
    ///     println!("{} is in {:?}", socket.id(), socket.rooms());
    /// }
    /// # }
    /// ```
    #[allow(clippy::unused_async, reason = "other servers are asked too")]
    pub async fn fetch_sockets(self) -> Vec<RemoteSocket> {
        let Some(adapter) = self.adapter else { return Vec::new() };
        let found = adapter.summaries(&self.target);
        found.into_iter().map(|summary| RemoteSocket::new(adapter.clone(), summary)).collect()
    }

    /// Adds the sockets to rooms.
    ///
    /// # Errors
    ///
    /// [`JoinError::NameTooLong`] beyond 256 bytes, [`JoinError::UnknownNamespace`]: nobody joined.
    /// [`JoinError::TooManyRooms`] if one of the sockets on this server has
    /// [`max_rooms`](field@crate::ServerConfig::max_rooms) already: it did not join, and all others did.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn merge(io: &socketio::Server) -> Result<(), socketio::JoinError> {
    /// io.to("lobby").to("garden").sockets_join(["house"])
    /// # }
    /// ```
    pub fn sockets_join(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), JoinError> {
        let rooms: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        if rooms.iter().any(|room| room.len() > MAX_NAME) {
            return Err(JoinError::NameTooLong);
        }
        let adapter = self.adapter.ok_or(JoinError::UnknownNamespace)?;
        adapter.join(&self.target, &rooms)
    }

    /// Removes the sockets from rooms.
    ///
    /// # Errors
    ///
    /// [`EmitError::UnknownNamespace`].
    pub fn sockets_leave(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitError> {
        let rooms: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        adapter.leave(&self.target, &rooms);
        Ok(())
    }

    /// Disconnects the sockets from the namespace, and with `close` all sockets of their clients, whose connections
    /// end.
    ///
    /// # Errors
    ///
    /// [`EmitError::UnknownNamespace`].
    pub fn disconnect_sockets(self, close: bool) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        adapter.disconnect(&self.target, close);
        Ok(())
    }
}

impl fmt::Debug for BroadcastOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastOperator")
            .field("target", &self.target)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}
