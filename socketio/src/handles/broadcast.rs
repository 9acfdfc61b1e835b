//! Broadcasts to the sockets of a namespace.

use std::{fmt, sync::Arc, time::Duration};

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
        cluster::{EventPacket, Operation, ReplyBody, Responses, Unavailable},
        rooms::{Room, Target},
        sending::encode_event,
    },
    proto::{
        args::{FromArgs, ToArgs},
        encode::Encoder,
    },
};

/// Selects the recipients of an event. A socket that is in several of the selected rooms receives the event
/// once.
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
    timeout: Option<Duration>,
}

impl BroadcastOperator {
    pub(crate) fn new(adapter: Option<Arc<Adapter>>) -> Self {
        Self { adapter, target: Target::default(), flags: Flags::default(), timeout: None }
    }

    pub(crate) fn except_socket(mut self, sid: Sid) -> Self {
        self.target.except_socket = Some(sid);
        self
    }

    /// Selects a room. The event is sent to the sockets in any of the selected rooms, or to all sockets of
    /// the namespace if no room is selected. The id of a socket is also the name of a room.
    pub fn to(mut self, room: impl Into<Room>) -> Self {
        self.target.rooms.push(room.into());
        self
    }

    /// Excludes the sockets in a room.
    pub fn except(mut self, room: impl Into<Room>) -> Self {
        self.target.except.push(room.into());
        self
    }

    /// Drops the event for clients to which it cannot be written immediately. These are clients with queued
    /// messages and long-polling clients without a pending poll.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Returns the path of the namespace, or `None` if the namespace does not exist.
    pub fn path(&self) -> Option<&str> {
        self.adapter.as_deref().map(Adapter::path)
    }

    /// Restricts the operation to this server. Other servers of a cluster are not notified.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Sets how long the other servers of a cluster may take to respond to [`fetch_sockets`] and
    /// [`server_side_emit_with_ack`], and how long clients may take to acknowledge [`emit_with_ack`].
    /// Defaults to [`requests_timeout`] and [`ack_timeout`]. Equivalent to `io.timeout(ms)` in Node.js.
    ///
    /// [`fetch_sockets`]: Self::fetch_sockets
    /// [`server_side_emit_with_ack`]: Self::server_side_emit_with_ack
    /// [`emit_with_ack`]: Self::emit_with_ack
    /// [`requests_timeout`]: crate::ServerConfig::requests_timeout
    /// [`ack_timeout`]: crate::ServerConfig::ack_timeout
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets whether permessage-deflate may compress the event, provided that it is large enough and the
    /// client negotiated the extension. Defaults to `true`.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Sends the event to the selected sockets. The event is encoded once, and the call never waits for a
    /// client.
    ///
    /// All members of a room on this server receive the broadcasts to that room in the same order. A client
    /// that does not read its messages is disconnected or misses some of them, depending on the configured
    /// [`SlowConsumerPolicy`](crate::SlowConsumerPolicy); other clients are unaffected.
    ///
    /// # Errors
    ///
    /// Returns [`EmitError::Encode`] if the arguments cannot be encoded, [`EmitError::ReservedEvent`] if the
    /// name of the event is reserved, and [`EmitError::UnknownNamespace`] if the namespace does not exist.
    /// After any of these errors, nothing was sent.
    ///
    /// Returns [`EmitError::ClusterFull`] if the queue to another server of the cluster is full. The event
    /// was sent to the sockets of this server, but is lost for the sockets of the other server.
    pub fn emit<T: ToArgs + ?Sized>(self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = self.flags.apply_to(encode_event(adapter.encoder(), event.name(), None, args)?);
        adapter.hooks.metrics.broadcast();
        if !adapter.logs(self.flags) {
            adapter.deliver(&self.target, &packet, self.flags)?;
        }
        let (target, flags) = (self.target, self.flags.into());
        let operation = || Operation::Broadcast { target, packet: EventPacket(packet.into_plain()), flags };
        Ok(adapter.publish(self.flags, operation)?)
    }

    /// Sends the event immediately and returns a request for the acknowledgements of all recipients. The
    /// event is sent even if the request is not awaited.
    ///
    /// The request is a stream of acknowledgements, and resolves to all acknowledgements when awaited; see
    /// [`BroadcastAckRequest`]. The acknowledgements are decoded as `A` by the rules of
    /// [`FromArgs`](crate::FromArgs). Each pending acknowledgement counts toward the
    /// [`max_pending_acks`](crate::ServerConfig::max_pending_acks) of its socket. A socket that has
    /// reached the limit does not receive the event, and is reported as missing with
    /// [`EmitError::TooManyAcks`]. A socket for which a volatile event was dropped is reported as missing
    /// with [`EmitError::Full`].
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit), except [`EmitError::ClusterFull`]. After an error,
    /// nothing was sent. If the queue to another server is full, the server is listed in
    /// [`missing_servers`](crate::BroadcastAnswers::missing_servers).
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
        let (target, flags) = (self.target, self.flags.into());
        let timeout = self.timeout.unwrap_or(adapter.config.ack_timeout);
        adapter.request_remote_acks(&mut pending, self.flags, |request| Operation::BroadcastWithAck {
            request,
            target,
            packet: EventPacket(packet.into_plain()),
            flags,
            timeout,
        });
        Ok(BroadcastAckRequest::new(pending, timeout, adapter.hooks.metrics.clone()))
    }
}

impl BroadcastOperator {
    /// Returns the number of selected sockets on this server, or 0 if the namespace does not exist. The call
    /// takes constant time if at most one room is selected and no socket is excluded; otherwise it visits
    /// each selected socket.
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

/// Operations on the selected sockets of all servers of a cluster.
impl BroadcastOperator {
    /// Returns the number of servers in the cluster that have the namespace, including this server, or 1 if
    /// there is no cluster. Equivalent to `adapter.serverCount()` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns an error if the broker is not connected.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is changed.
    pub async fn server_count(&self) -> Result<usize, Unavailable> {
        match &self.adapter {
            Some(adapter) => adapter.server_count().await,
            None => Ok(1),
        }
    }

    /// Returns the selected sockets, or an empty list if the namespace does not exist.
    ///
    /// # Errors
    ///
    /// Returns [`FetchError`] if a server of the cluster does not respond within
    /// [`requests_timeout`](crate::ServerConfig::requests_timeout), or if the queue to a server is
    /// full. The error contains the sockets of the servers that responded, and the ids of the servers that
    /// did not respond. Without a cluster, the call never fails.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any time. Dropping the future discards the responses and has no other
    /// effect.
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
            adapter.gather(self.flags, self.timeout, |request| Operation::Fetch { request, target }).await;
        for (_, answer) in answers {
            if let ReplyBody::Sockets(more) = answer {
                found.extend(more);
            }
        }
        let sockets = found.into_iter().map(|summary| RemoteSocket::new(adapter.clone(), summary)).collect();
        if missing.is_empty() { Ok(sockets) } else { Err(FetchError { sockets, missing }) }
    }

    /// Adds the selected sockets to rooms.
    ///
    /// # Errors
    ///
    /// Returns [`JoinError::NameTooLong`] if a name exceeds
    /// [`max_name_length`](crate::ServerConfig::max_name_length), and [`JoinError::UnknownNamespace`]
    /// if the namespace does not exist. After either error, no socket joined a room.
    ///
    /// Returns [`JoinError::TooManyRooms`] if a socket on this server reached
    /// [`max_rooms`](crate::ServerConfig::max_rooms). The socket joined only the rooms up to the limit;
    /// all other sockets joined all rooms. If a socket on another server reaches the limit, the other server
    /// logs a warning, and no error is returned.
    ///
    /// Returns [`JoinError::ClusterFull`] if the queue to another server is full. The sockets of the other
    /// server did not join the rooms.
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
        adapter.publish(self.flags, || Operation::Join { target, rooms })?;
        joined
    }

    /// Removes the selected sockets from rooms.
    ///
    /// # Errors
    ///
    /// Returns [`EmitError::UnknownNamespace`] if the namespace does not exist, and
    /// [`EmitError::ClusterFull`] if the queue to another server is full. The sockets of the other server
    /// then remain in the rooms.
    pub fn sockets_leave(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitError> {
        let rooms: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        adapter.leave(&self.target, &rooms);
        let target = self.target;
        Ok(adapter.publish(self.flags, || Operation::Leave { target, rooms })?)
    }

    /// Disconnects the selected sockets from the namespace. The connections of their clients stay open. Equivalent
    /// to `disconnectSockets()` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns [`EmitError::UnknownNamespace`] if the namespace does not exist, and
    /// [`EmitError::ClusterFull`] if the queue to another server is full. The sockets of the other server are
    /// then not disconnected.
    pub fn disconnect_sockets(self) -> Result<(), EmitError> {
        self.disconnect(false)
    }

    /// Closes the connections of the clients of the selected sockets, which disconnects all sockets of these
    /// clients. Equivalent to `disconnectSockets(true)` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`disconnect_sockets`](Self::disconnect_sockets).
    pub fn close_sockets(self) -> Result<(), EmitError> {
        self.disconnect(true)
    }

    fn disconnect(self, close: bool) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        adapter.disconnect(&self.target, close);
        let target = self.target;
        Ok(adapter.publish(self.flags, || Operation::Disconnect { target, close })?)
    }
}

/// Events between the servers of a cluster.
impl BroadcastOperator {
    /// Sends an event to this namespace on all other servers of the cluster. Handlers are registered with
    /// [`Namespace::on_server`](crate::Namespace::on_server). Selected rooms are ignored, because they apply
    /// only to sockets. Without a cluster, nothing is sent.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit).
    pub fn server_side_emit<T: ToArgs + ?Sized>(
        self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = encode_event(Encoder::plain(adapter.path()), event.name(), None, args)?;
        Ok(adapter
            .publish(self.flags, || Operation::ServerEvent { request: None, packet: EventPacket(packet) })?)
    }

    /// Sends an event like [`server_side_emit`](Self::server_side_emit), and waits for the responses of all
    /// other servers. The event is sent when the future is first polled.
    ///
    /// Responses are decoded as `A`. The call does not wait for a server that leaves the cluster. A server
    /// that does not respond within [`requests_timeout`](crate::ServerConfig::requests_timeout) is
    /// reported as missing. Without other servers, the result is empty and returned immediately.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit), except [`EmitError::ClusterFull`]. After an error,
    /// nothing was sent. If the queue to another server is full, the server is reported as missing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the responses. The event has been sent if the future was polled at least
    /// once.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn count(io: &socketio::Server) -> Result<u64, socketio::EmitError> {
    /// let loads = io.of("/").server_side_emit_with_ack::<u64, _>("load", &()).await?;
    /// Ok(loads.answers.iter().map(|(_, load)| load).sum())
    /// # }
    /// ```
    pub async fn server_side_emit_with_ack<A: FromArgs, T: ToArgs + ?Sized>(
        self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<ServerAnswers<A>, EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = encode_event(Encoder::plain(adapter.path()), event.name(), None, args)?;
        let event = |request| Operation::ServerEvent { request: Some(request), packet: EventPacket(packet) };
        let gathered = adapter.gather(self.flags, self.timeout, event).await;
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
