//! The sockets of a namespace on this server.

use std::{fmt, marker::PhantomData, sync::Arc};

use crate::{
    handles::socket::Socket,
    hub::{
        Adapter,
        rooms::{Room, Target},
    },
};

/// The sockets of a namespace on this server, with their [data](Socket::data). Returned by
/// [`Socket::sockets`] and [`Server::sockets`](crate::Server::sockets). Cheap to clone. Equivalent to
/// `namespace.sockets` in Node.js.
///
/// Each result is a snapshot, because sockets may join and leave concurrently. For the sockets of all servers
/// of a cluster, see [`fetch_sockets`](crate::BroadcastOperator::fetch_sockets).
///
/// # Examples
///
/// Lists the members of a room:
///
/// ```
/// use socketio::{Ack, Namespace, Socket};
///
/// struct User { name: String }
///
/// async fn who(socket: Socket<User>, room: String) -> Ack<Vec<String>> {
///     let present = socket.sockets().in_room(room);
///     Ack(present.iter().map(|socket| socket.data().name.clone()).collect())
/// }
/// ```
pub struct Sockets<D = ()> {
    adapter: Arc<Adapter>,
    data: PhantomData<fn() -> D>,
}

impl<D: Send + Sync + 'static> Sockets<D> {
    pub(crate) fn new(adapter: Arc<Adapter>) -> Self {
        Self { adapter, data: PhantomData }
    }

    /// Returns the socket with an id, or `None` if the namespace has no such socket on this server.
    pub fn get(&self, id: &str) -> Option<Socket<D>> {
        Socket::downcast(&self.adapter.socket(id)?)
    }

    /// Returns all sockets.
    pub fn all(&self) -> Vec<Socket<D>> {
        self.select(&Target::default())
    }

    /// Returns the sockets in a room.
    pub fn in_room(&self, room: impl Into<Room>) -> Vec<Socket<D>> {
        self.select(&Target { rooms: vec![room.into()], ..Target::default() })
    }

    fn select(&self, target: &Target) -> Vec<Socket<D>> {
        let sockets = self.adapter.select(target, |_, socket, _| Socket::downcast(socket));
        sockets.into_iter().flatten().collect()
    }

    /// Returns the number of sockets, in constant time.
    pub fn len(&self) -> usize {
        self.adapter.len()
    }

    /// Returns `true` if the namespace has no sockets on this server.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of sockets in a room, in constant time.
    pub fn count_in(&self, room: &str) -> usize {
        self.adapter.count_in(room)
    }
}

impl<D> Clone for Sockets<D> {
    fn clone(&self) -> Self {
        Self { adapter: self.adapter.clone(), data: PhantomData }
    }
}

impl<D> fmt::Debug for Sockets<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("path", &self.adapter.path()).finish_non_exhaustive()
    }
}
