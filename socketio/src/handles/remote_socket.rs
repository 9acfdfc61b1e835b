//! Sockets on any server of a cluster.

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

/// A socket on this server or on another server of the cluster, with a snapshot of the state of the socket.
/// Returned by [`BroadcastOperator::fetch_sockets`]. Cloning copies the rooms and the data. Equivalent to
/// `RemoteSocket` in Node.js.
///
/// Operations are sent to the room named after the id of the socket.
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

    /// Returns the rooms of the socket at the time of the snapshot, including the room named after its id.
    pub fn rooms(&self) -> &[Room] {
        &self.summary.rooms
    }

    /// Decodes the data of the socket, if the namespace [shares](crate::Namespace::share_data) the data.
    ///
    /// # Errors
    ///
    /// Returns an error if the data is not a `T`. Data that is not shared decodes as `null`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.summary.data.as_deref().unwrap_or("null"))
    }

    /// Decodes the data of the socket for the Admin UI, which a server of the socket
    /// [shares](crate::Server::share_admin_data) that has an Admin UI. Equivalent to `data._admin` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns an error if the data is not a `T`. Data that is not shared decodes as `null`.
    pub fn admin_data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.summary.admin_data.as_deref().unwrap_or("null"))
    }

    /// Sends an event to the client of the socket.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`BroadcastOperator::emit`]. Emitting to a socket that has left is not an
    /// error.
    pub fn emit<T: ToArgs + ?Sized>(&self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        self.operator().emit(event, args)
    }

    /// Sends an event to the client of the socket and returns a request for the acknowledgement. The result
    /// is empty if the socket has left.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`BroadcastOperator::emit_with_ack`].
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
    /// Returns the same errors as [`BroadcastOperator::sockets_join`].
    pub fn join(&self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), JoinError> {
        self.operator().sockets_join(rooms)
    }

    /// Removes the socket from rooms.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`BroadcastOperator::sockets_leave`].
    pub fn leave(&self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitError> {
        self.operator().sockets_leave(rooms)
    }

    /// Disconnects the socket from its namespace. The connection of its client stays open. Equivalent to
    /// `disconnect()` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`BroadcastOperator::disconnect_sockets`].
    pub fn disconnect(&self) -> Result<(), EmitError> {
        self.operator().disconnect_sockets()
    }

    /// Closes the connection of the client, which disconnects all its sockets. Equivalent to `disconnect(true)` in
    /// Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`BroadcastOperator::disconnect_sockets`].
    pub fn close(&self) -> Result<(), EmitError> {
        self.operator().close_sockets()
    }

    fn operator(&self) -> BroadcastOperator {
        BroadcastOperator::new(Some(self.adapter.clone())).to(self.summary.id.clone())
    }
}

impl fmt::Debug for RemoteSocket {
    /// Omits the handshake and the data, because they may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSocket")
            .field("id", &self.summary.id)
            .field("rooms", &self.summary.rooms)
            .finish_non_exhaustive()
    }
}

/// The error returned if some servers of a cluster did not report their sockets, because they did not respond
/// in time or because the queue to them was full.
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
