//! A socket as all servers may know it.

use std::{error::Error, fmt, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{
    event::{
        EventName,
        error::{EmitError, JoinError},
        handshake::Handshake,
    },
    handles::{broadcast::BroadcastOperator, broadcast_ack::BroadcastAckRequest},
    hub::{Adapter, cluster::ServerId, rooms::Room, summary::Summary},
    proto::args::ToArgs,
};

/// A socket on this server or on another one: what it was when it was asked for, and ways to reach it. Made by
/// [`BroadcastOperator::fetch_sockets`]. Cheap to clone but for its rooms. Node: `RemoteSocket`.
///
/// It is reached through the room of its own id.
///
/// # Examples
///
/// ```
/// use socketio::{JoinError, Server};
///
/// async fn promote(io: &Server) -> Result<(), Box<dyn std::error::Error>> {
///     for socket in io.to("members").fetch_sockets().await? {
///         if socket.handshake().query("plan").as_deref() == Some("gold") {
///             socket.join(["lounge"])?;
///             socket.emit("promoted", "Welcome to the lounge.")?;
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct RemoteSocket {
    adapter: Arc<Adapter>,
    summary: Summary,
}

impl RemoteSocket {
    pub(crate) fn new(adapter: Arc<Adapter>, summary: Summary) -> Self {
        Self { adapter, summary }
    }

    /// The public id of the socket.
    pub fn id(&self) -> &str {
        &self.summary.id
    }

    /// What the client brought when it connected.
    pub fn handshake(&self) -> &Handshake {
        &self.summary.handshake
    }

    /// The rooms that it was in, that of its own id among them.
    pub fn rooms(&self) -> &[Room] {
        &self.summary.rooms
    }

    /// Reads its data, if the namespace [shares](crate::Namespace::share_data) it.
    ///
    /// # Errors
    ///
    /// Returns an error if it is of another type than `T`. Data that is not shared is `null`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.summary.data.as_deref().unwrap_or("null"))
    }

    /// Sends an event to its client.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::emit`]: that the socket has left is none.
    pub fn emit<T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        self.operator().emit(event, args)
    }

    /// Sends an event to its client, and waits for the acknowledgement: a single one, or none if the socket has
    /// left before.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::emit_with_ack`].
    pub fn emit_with_ack<A, T: ToArgs + ?Sized>(
        &self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<BroadcastAckRequest<A>, EmitError> {
        self.operator().emit_with_ack(event, args)
    }

    /// Adds it to rooms.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::sockets_join`].
    pub fn join(&self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), JoinError> {
        self.operator().sockets_join(rooms)
    }

    /// Removes it from rooms.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::sockets_leave`].
    pub fn leave(&self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitError> {
        self.operator().sockets_leave(rooms)
    }

    /// Disconnects it from its namespace, and with `close` all sockets of its client, whose connection ends.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::disconnect_sockets`].
    pub fn disconnect(&self, close: bool) -> Result<(), EmitError> {
        self.operator().disconnect_sockets(close)
    }

    fn operator(&self) -> BroadcastOperator {
        BroadcastOperator::new(Some(self.adapter.clone())).to(self.summary.id.clone())
    }
}

impl fmt::Debug for RemoteSocket {
    /// Leaves the data out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSocket")
            .field("id", &self.summary.id)
            .field("rooms", &self.summary.rooms)
            .finish_non_exhaustive()
    }
}

/// Some servers of a cluster did not tell of their sockets: in time, or because the queue to them was full.
///
/// # Examples
///
/// ```
/// use socketio::{RemoteSocket, Server};
///
/// /// As many as can be known.
/// async fn some(io: &Server) -> Vec<RemoteSocket> {
///     io.of("/").fetch_sockets().await.unwrap_or_else(|error| error.sockets)
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FetchError {
    /// The sockets of this server and of those that answered.
    pub sockets: Vec<RemoteSocket>,
    /// The servers that did not.
    pub missing: Vec<ServerId>,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} servers did not answer", self.missing.len())
    }
}

impl Error for FetchError {}
