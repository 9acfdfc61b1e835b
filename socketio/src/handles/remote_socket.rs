//! A socket of any server of the cluster.

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

/// A socket on this server or on another one: a snapshot of its state, and operations on it. Made by
/// [`BroadcastOperator::fetch_sockets`]. Cheap to clone except for its rooms. Node: `RemoteSocket`.
///
/// Operations address the room named after its id.
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

    /// Returns the public id of the socket.
    pub fn id(&self) -> &str {
        &self.summary.id
    }

    /// Returns the handshake of the client.
    pub fn handshake(&self) -> &Handshake {
        &self.summary.handshake
    }

    /// Returns the rooms of the socket at the time of the snapshot, including the room of its own id.
    pub fn rooms(&self) -> &[Room] {
        &self.summary.rooms
    }

    /// Decodes its data, if the namespace [shares](crate::Namespace::share_data) it.
    ///
    /// # Errors
    ///
    /// Returns an error if the data is not a `T`. Data that is not shared is `null`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.summary.data.as_deref().unwrap_or("null"))
    }

    /// Sends an event to its client.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::emit`]. It is not an error if the socket has left.
    pub fn emit<T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        self.operator().emit(event, args)
    }

    /// Sends an event to its client and returns a request for the acknowledgement. The result is empty if the
    /// socket has left.
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

    /// Adds the socket to rooms.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::sockets_join`].
    pub fn join(&self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), JoinError> {
        self.operator().sockets_join(rooms)
    }

    /// Removes the socket from rooms.
    ///
    /// # Errors
    ///
    /// As [`BroadcastOperator::sockets_leave`].
    pub fn leave(&self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitError> {
        self.operator().sockets_leave(rooms)
    }

    /// Disconnects the socket from its namespace. With `close`, disconnects all sockets of its client and
    /// closes the connection.
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
    /// Omits the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSocket")
            .field("id", &self.summary.id)
            .field("rooms", &self.summary.rooms)
            .finish_non_exhaustive()
    }
}

/// Some servers of a cluster did not report their sockets, because they did not respond in time or the queue
/// to them was full.
///
/// # Examples
///
/// ```
/// use socketio::{RemoteSocket, Server};
///
/// /// Returns all sockets that are known.
/// async fn some(io: &Server) -> Vec<RemoteSocket> {
///     io.of("/").fetch_sockets().await.unwrap_or_else(|error| error.sockets)
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FetchError {
    /// The sockets of this server and of the servers that responded.
    pub sockets: Vec<RemoteSocket>,
    /// The servers that did not respond.
    pub missing: Vec<ServerId>,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} servers did not answer", self.missing.len())
    }
}

impl Error for FetchError {}
