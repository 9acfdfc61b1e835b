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
        cluster::{Body, Gathered, Op},
        rooms::{Room, Target},
        sending::encode_event,
    },
    proto::{
        args::{FromArgs, ToArgs},
        encode::Encoder,
    },
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
    /// messages is disconnected, or misses some, as [`SlowConsumerPolicy`](crate::SlowConsumerPolicy) says, and disturbs nobody
    /// else.
    ///
    /// # Errors
    ///
    /// [`EmitError::Encode`] if the arguments cannot be written, [`EmitError::ReservedEvent`],
    /// [`EmitError::UnknownNamespace`]: nothing was sent. [`EmitError::ClusterFull`] if another server of a cluster
    /// does not keep up: the event is lost for its sockets, and was sent to those of this server.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub fn emit<T: ToArgs + ?Sized>(self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = self.flags.mark(encode_event(adapter.encoder(), event.name(), None, args)?);
        adapter.hooks.metrics.broadcast();
        adapter.deliver(&self.target, &packet, self.flags)?;
        let (target, Flags { volatile, uncompressed, .. }) = (self.target, self.flags);
        let op = || Op::Broadcast { target, packet: packet.into_plain(), volatile, uncompressed };
        Ok(adapter.publish(self.flags, op)?)
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
    /// As [`emit`](Self::emit): nothing was sent. A server whose queue is full is no error, but among the
    /// [missing](crate::BroadcastAnswers::missing_servers).
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
        let packet = self.flags.mark(encode_event(adapter.encoder(), event.name(), Some(id), args)?);
        adapter.hooks.metrics.broadcast();
        let mut pending = adapter.ask(&self.target, &packet, id, self.flags);
        let (target, Flags { volatile, uncompressed, .. }) = (self.target, self.flags);
        adapter.ask_elsewhere(&mut pending, self.flags, |request| Op::Ask {
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
    /// The number of sockets on this server that an event would go to. Of one room, or of all sockets, it is known;
    /// otherwise they are counted. None if there is no such namespace.
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

/// What can be done with sockets on this server and on others.
impl BroadcastOperator {
    /// The sockets that an event would go to. None if there is no such namespace.
    ///
    /// # Errors
    ///
    /// Returns the sockets that are known, and which servers are missing, if a server of a cluster does not answer
    /// within [`requests_timeout`](field@crate::ServerConfig::requests_timeout). Without a cluster it cannot fail.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
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
        let Gathered { answers, missing } =
            adapter.gather(self.flags, |request| Op::Fetch { request, target }).await;
        for (_, answer) in answers {
            if let Body::Sockets(more) = answer {
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
    /// [`JoinError::NameTooLong`] beyond
    /// [`max_name_length`](field@crate::ServerConfig::max_name_length), [`JoinError::UnknownNamespace`]: nobody joined.
    /// [`JoinError::TooManyRooms`] if one of the sockets on this server has
    /// [`max_rooms`](field@crate::ServerConfig::max_rooms) already: it did not join, and all others did. (Another
    /// server logs it.) [`JoinError::ClusterFull`] if another server does not keep up: its sockets did not join.
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
    /// [`EmitError::UnknownNamespace`]. [`EmitError::ClusterFull`] if another server does not keep up: its sockets stay.
    pub fn sockets_leave(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitError> {
        let rooms: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        adapter.leave(&self.target, &rooms);
        let target = self.target;
        Ok(adapter.publish(self.flags, || Op::Leave { target, rooms })?)
    }

    /// Disconnects the sockets from the namespace, and with `close` all sockets of their clients, whose connections
    /// end.
    ///
    /// # Errors
    ///
    /// [`EmitError::UnknownNamespace`]. [`EmitError::ClusterFull`] if another server does not keep up: its sockets stay.
    pub fn disconnect_sockets(self, close: bool) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        adapter.disconnect(&self.target, close);
        let target = self.target;
        Ok(adapter.publish(self.flags, || Op::Disconnect { target, close })?)
    }
}

/// What servers of a cluster tell each other.
impl BroadcastOperator {
    /// Sends an event to this namespace on all other servers of the cluster, whose
    /// [`on_server`](crate::Namespace::on_server) handles it. Rooms choose sockets and make no difference here. Without
    /// a cluster there is nobody to send to.
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

    /// As [`server_side_emit`](Self::server_side_emit), and waits for the answers of all other servers. The event is
    /// sent by the first poll.
    ///
    /// Answers are read as `A`. A server that leaves is not waited for; one that does not answer within
    /// [`requests_timeout`](field@crate::ServerConfig::requests_timeout) is missing. Without another server there is no
    /// answer, at once.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit): nothing was sent. A server whose queue is full is no error, but missing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the answers; the event has been sent once it was polled.
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
                Body::Answer(Some(args)) => args.read(),
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
