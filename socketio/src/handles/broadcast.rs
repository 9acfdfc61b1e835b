//! Emitting to many sockets.

use std::{fmt, sync::Arc};

use engineio::Sid;

use crate::{
    event::{
        EventName,
        error::{AckError, EmitError, JoinError},
    },
    handles::{
        broadcast_ack::{BroadcastAckRequest, ServerAnswers},
        remote_socket::{FetchError, RemoteSocket},
    },
    hub::{
        Adapter, Flags,
        cluster::{Op, ReplyBody, Responses},
        rooms::{Room, Target},
        sending::encode_event,
    },
    proto::{
        args::{FromArgs, ToArgs},
        encode::Encoder,
    },
};

/// Selects the recipients of an event. Each socket receives it once, even if it is in several of the rooms.
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

    /// Adds a room: the event is sent to the sockets in any of the rooms, or to all sockets if no room is
    /// named. The id of a socket is also a room.
    pub fn to(mut self, room: impl Into<Room>) -> Self {
        self.target.rooms.push(room.into());
        self
    }

    /// Excludes the sockets in a room.
    pub fn except(mut self, room: impl Into<Room>) -> Self {
        self.target.except.push(room.into());
        self
    }

    /// Drops the event for clients that cannot take it at once: those with earlier messages queued, and
    /// long-polling clients without a pending poll.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Restricts the event to this server in a cluster.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Sets whether permessage-deflate may compress the event, provided that it is large enough and the
    /// client negotiated the extension. `true` by default.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Sends the event. It is encoded once, and the call never waits for a client.
    ///
    /// All members of a room on this server receive its broadcasts in the same order. A client that does not
    /// read its messages is disconnected or loses some, according to its
    /// [`SlowConsumerPolicy`](crate::SlowConsumerPolicy), and does not affect other clients.
    ///
    /// # Errors
    ///
    /// [`EmitError::Encode`] if the arguments cannot be written, [`EmitError::ReservedEvent`],
    /// [`EmitError::UnknownNamespace`]: nothing was sent. [`EmitError::ClusterFull`] if the queue to another
    /// server of the cluster is full: the event was sent to the sockets of this server and is lost for those
    /// of the other one.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub fn emit<T: ToArgs + ?Sized>(self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = self.flags.apply_to(encode_event(adapter.encoder(), event.name(), None, args)?);
        adapter.hooks.metrics.broadcast();
        adapter.deliver(&self.target, &packet, self.flags)?;
        let (target, Flags { volatile, uncompressed, .. }) = (self.target, self.flags);
        let op = || Op::Broadcast { target, packet: packet.into_plain(), volatile, uncompressed };
        Ok(adapter.publish(self.flags, op)?)
    }

    /// Sends the event at once, awaited or not, and returns a request for the acknowledgements of all
    /// recipients.
    ///
    /// The request is a stream of acknowledgements, or resolves to all of them when awaited: see
    /// [`BroadcastAckRequest`]. They are decoded as `A`, by the rules of [`FromArgs`](crate::FromArgs). Each
    /// one counts against the [`max_pending_acks`](field@crate::ServerConfig::max_pending_acks) of its
    /// socket. A socket at that limit does not receive the event and is reported missing with
    /// [`EmitError::TooManyAcks`]. A socket for which a volatile event was dropped is reported missing with
    /// [`EmitError::Full`].
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit): nothing was sent. A full queue to another server is not an error: the server
    /// is listed in [`missing_servers`](crate::BroadcastAnswers::missing_servers).
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
        let packet = self.flags.apply_to(encode_event(adapter.encoder(), event.name(), Some(id), args)?);
        adapter.hooks.metrics.broadcast();
        let mut pending = adapter.deliver_with_ack(&self.target, &packet, id, self.flags);
        let (target, Flags { volatile, uncompressed, .. }) = (self.target, self.flags);
        adapter.request_remote_acks(&mut pending, self.flags, |request| Op::BroadcastWithAck {
            request,
            target,
            packet: packet.into_plain(),
            volatile,
            uncompressed,
        });
        Ok(BroadcastAckRequest::new(pending, adapter.config.ack_timeout, adapter.hooks.metrics.clone()))
    }
}

impl BroadcastOperator {
    /// Returns the number of sockets on this server that an event would be sent to, or 0 if there is no such
    /// namespace. Takes constant time for one room or for all sockets; otherwise the sockets are counted.
    ///
    /// # Examples
    ///
    /// ```
    /// fn is_full(io: &socketio::Server, game: &str) -> bool {
    ///     io.to(game).socket_count() >= 4
    /// }
    /// ```
    pub fn socket_count(&self) -> usize {
        self.adapter.as_ref().map_or(0, |adapter| adapter.count(&self.target))
    }
}

/// Operations on sockets of this server and of the other servers.
impl BroadcastOperator {
    /// Returns the sockets that an event would be sent to, or none if there is no such namespace.
    ///
    /// # Errors
    ///
    /// Returns [`FetchError`], with the sockets that are known and the servers that are missing, if a server
    /// of the cluster does not respond within
    /// [`requests_timeout`](field@crate::ServerConfig::requests_timeout). Never fails without a cluster.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any time; nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn list(io: &socketio::Server) -> Result<(), socketio::FetchError> {
    /// for socket in io.to("lobby").fetch_sockets().await? {
    ///     println!("{} is in {:?}", socket.id(), socket.rooms());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fetch_sockets(self) -> Result<Vec<RemoteSocket>, FetchError> {
        let Some(adapter) = self.adapter else { return Ok(Vec::new()) };
        let mut found = adapter.summaries(&self.target);
        let target = self.target;
        let Responses { answers, missing } =
            adapter.gather(self.flags, |request| Op::Fetch { request, target }).await;
        for (_, answer) in answers {
            if let ReplyBody::Sockets(more) = answer {
                found.extend(more);
            }
        }
        let sockets = found.into_iter().map(|summary| RemoteSocket::new(adapter.clone(), summary)).collect();
        if missing.is_empty() { Ok(sockets) } else { Err(FetchError { sockets, missing }) }
    }

    /// Adds the sockets to rooms.
    ///
    /// # Errors
    ///
    /// [`JoinError::NameTooLong`] beyond [`max_name_length`](field@crate::ServerConfig::max_name_length),
    /// [`JoinError::UnknownNamespace`]: no socket joined. [`JoinError::TooManyRooms`] if a socket on this
    /// server reached [`max_rooms`](field@crate::ServerConfig::max_rooms): it joined only the rooms up to the
    /// limit, and all others joined. (Another server only logs it.) [`JoinError::ClusterFull`] if the queue
    /// to another server is full: its sockets did not join.
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
        let adapter = self.adapter.ok_or(JoinError::UnknownNamespace)?;
        if rooms.iter().any(|room| room.len() > adapter.config.max_name_length) {
            return Err(JoinError::NameTooLong);
        }
        let joined = adapter.join(&self.target, &rooms);
        let target = self.target;
        adapter.publish(self.flags, || Op::Join { target, rooms })?;
        joined
    }

    /// Removes the sockets from rooms.
    ///
    /// # Errors
    ///
    /// [`EmitError::UnknownNamespace`]. [`EmitError::ClusterFull`] if the queue to another server is full:
    /// its sockets do not leave the rooms.
    pub fn sockets_leave(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitError> {
        let rooms: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        adapter.leave(&self.target, &rooms);
        let target = self.target;
        Ok(adapter.publish(self.flags, || Op::Leave { target, rooms })?)
    }

    /// Disconnects the sockets from the namespace. With `close`, disconnects all sockets of their clients and
    /// closes their connections.
    ///
    /// # Errors
    ///
    /// [`EmitError::UnknownNamespace`]. [`EmitError::ClusterFull`] if the queue to another server is full:
    /// its sockets are not disconnected.
    pub fn disconnect_sockets(self, close: bool) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        adapter.disconnect(&self.target, close);
        let target = self.target;
        Ok(adapter.publish(self.flags, || Op::Disconnect { target, close })?)
    }
}

/// Messages between the servers of a cluster.
impl BroadcastOperator {
    /// Sends an event to this namespace on all other servers of the cluster, where
    /// [`on_server`](crate::Namespace::on_server) handles it. Rooms are ignored, because they select sockets.
    /// Without a cluster it does nothing.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit).
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub fn server_side_emit<T: ToArgs + ?Sized>(
        self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = encode_event(Encoder::plain(adapter.path()), event.name(), None, args)?;
        Ok(adapter.publish(self.flags, || Op::ServerEvent { request: None, packet })?)
    }

    /// As [`server_side_emit`](Self::server_side_emit), and waits for the answers of all other servers. The
    /// event is sent by the first poll.
    ///
    /// Answers are decoded as `A`. A server that leaves the cluster is not waited for; one that does not
    /// answer within [`requests_timeout`](field@crate::ServerConfig::requests_timeout) is reported missing.
    /// Without another server the result is empty and ready at once.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit): nothing was sent. A full queue to another server is not an error: the server
    /// is reported missing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the answers; the event is sent once the future has been polled.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn count(io: &socketio::Server) -> Result<u64, socketio::EmitError> {
    /// let loads = io.of("/").server_side_emit_with_ack::<u64, _>("load", &()).await?;
    /// Ok(loads.answers.iter().map(|(_, load)| load).sum())
    /// # }
    /// ```
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub async fn server_side_emit_with_ack<A: FromArgs, T: ToArgs + ?Sized>(
        self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<ServerAnswers<A>, EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = encode_event(Encoder::plain(adapter.path()), event.name(), None, args)?;
        let event = |request| Op::ServerEvent { request: Some(request), packet };
        let gathered = adapter.gather(self.flags, event).await;
        let missing = gathered.missing.into_iter().map(|server| (server, AckError::Timeout)).collect();
        let mut all = ServerAnswers { answers: Vec::new(), missing };
        for (server, body) in gathered.answers {
            let answer = match body {
                ReplyBody::Answer(Some(args)) => args.read(),
                _ => Err(AckError::Unanswered),
            };
            match answer {
                Ok(answer) => all.answers.push((server, answer)),
                Err(error) => all.missing.push((server, error)),
            }
        }
        Ok(all)
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
