//! Sockets of this server, regardless of the data types of their namespaces.

use std::fmt;

use crate::{
    event::{handshake::Handshake, reason::DisconnectReason},
    handles::session::Session,
    hub::{rooms::Room, socket_core::AnySocket},
};

/// A socket on this server, without the type of its data. Returned by
/// [`Server::local_sockets`](crate::Server::local_sockets). Cheap to clone. Use [`Socket`](crate::Socket) if the type
/// of the data is known.
///
/// # Examples
///
/// ```
/// fn addresses(io: &socketio::Server) -> Vec<std::net::SocketAddr> {
///     io.local_sockets("/", 100).iter().filter_map(|socket| socket.handshake().address()).collect()
/// }
/// ```
#[derive(Clone)]
pub struct LocalSocket(AnySocket);

impl LocalSocket {
    pub(crate) fn new(socket: AnySocket) -> Self {
        Self(socket)
    }

    /// Returns the public id of the socket.
    pub fn id(&self) -> &str {
        self.0.id.as_str()
    }

    /// Returns the path of the namespace.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Returns the handshake of the client.
    pub fn handshake(&self) -> &Handshake {
        self.0.handshake()
    }

    /// Returns up to `max` rooms of the socket, including the room named after its id. Empty if the socket has left the
    /// namespace.
    pub fn rooms(&self, max: usize) -> Vec<Room> {
        let slot = self.0.lifecycle.joined_slot();
        slot.map(|slot| self.0.adapter.first_rooms(slot, max)).unwrap_or_default()
    }

    /// Returns the Engine.IO session of the client.
    pub fn session(&self) -> Session<'_> {
        Session::new(self.0.session())
    }

    /// Serializes the data of the socket as JSON text. Returns `None` if the namespace does not
    /// [share](crate::Namespace::share_data) the data, or if this fails.
    pub fn data_json(&self) -> Option<Box<str>> {
        self.0.adapter.shared_data(&self.0)
    }

    /// Returns the reason why the socket has left the namespace, or `None` while it is connected.
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.0.left()
    }
}

impl fmt::Debug for LocalSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSocket")
            .field("id", &self.id())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
