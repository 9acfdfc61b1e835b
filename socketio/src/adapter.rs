//! The sockets of one namespace, and broadcasts to them: here, and on other servers through a backend.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{RwLock, RwLockWriteGuard};

use crate::{
    config::ServerConfig,
    proto::encode::{Encoder, Frames},
    rooms::{Rooms, Target},
    socket::AnySocket,
};

/// A way to other servers: the seam for brokers.
///
/// Local delivery never waits for it and never depends on it. `publish` must not block; what it queues, it bounds.
pub(crate) trait Backend: Send + Sync {
    /// Tells the other servers of a broadcast, after the sockets of this one have it.
    fn publish(&self, namespace: &str, target: &Target, packet: &Frames);
}

/// The rooms of one namespace, and the way to its other servers.
pub(crate) struct Adapter {
    path: Box<str>,
    pub(crate) config: Arc<ServerConfig>,
    rooms: RwLock<Rooms<AnySocket>>,
    next_ack: AtomicU64,
    backend: Option<Arc<dyn Backend>>,
}

/// How a broadcast travels.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) volatile: bool,
    pub(crate) local: bool,
}

impl Adapter {
    pub(crate) fn new(path: &str, config: Arc<ServerConfig>, backend: Option<Arc<dyn Backend>>) -> Self {
        Self { path: path.into(), config, rooms: RwLock::default(), next_ack: AtomicU64::new(0), backend }
    }

    /// The path of the namespace.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What encodes the packets of the namespace.
    pub(crate) fn encoder(&self) -> Encoder<'_> {
        Encoder { namespace: &self.path, parser: self.config.parser.as_deref() }
    }

    /// The number of sockets on this server.
    pub(crate) fn len(&self) -> usize {
        self.rooms.read().len()
    }

    /// The rooms, to change them.
    pub(crate) fn rooms_mut(&self) -> RwLockWriteGuard<'_, Rooms<AnySocket>> {
        self.rooms.write()
    }

    pub(crate) fn rooms_of(&self, slot: crate::rooms::Slot) -> Vec<crate::Room> {
        self.rooms.read().rooms_of(slot)
    }

    /// An id for an acknowledgement, unique in the namespace as in Node.
    pub(crate) fn next_ack(&self) -> u64 {
        self.next_ack.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a packet to the sockets of the target, here and on all other servers.
    pub(crate) fn broadcast(&self, target: &Target, packet: &Frames, flags: Flags) {
        self.deliver(target, packet, flags);
        if let Some(backend) = &self.backend
            && !flags.local
        {
            backend.publish(&self.path, target, packet);
        }
    }

    /// Sends a packet to the sockets of the target on this server.
    ///
    /// Queueing happens under a lock, which gives all members of a room its broadcasts in one order. It is short:
    /// for each socket one more count on the shared frames, and at most one wake-up.
    pub(crate) fn deliver(&self, target: &Target, packet: &Frames, flags: Flags) {
        let send = |socket: &AnySocket| {
            let session = socket.session();
            if flags.volatile {
                session.send_volatile(packet.as_slice());
            } else {
                // A socket whose queue is full is being disconnected, and its handler told why.
                let _ = session.send(packet.as_slice());
            }
        };
        if Rooms::<AnySocket>::needs_exclusive(target) {
            self.rooms.write().each(target, send);
        } else {
            self.rooms.read().each(target, send);
        }
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("path", &self.path)
            .field("sockets", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::{Namespace, Server, proto::encode::Frames};

    /// Notes what it is told to publish, as a broker's queue would.
    #[derive(Default)]
    struct Noted(Mutex<Vec<String>>);

    impl Backend for Noted {
        fn publish(&self, namespace: &str, target: &Target, packet: &Frames) {
            let text = String::from_utf8_lossy(packet.as_slice()[0].payload()).into_owned();
            self.0.lock().push(format!("{namespace} {:?} {text}", target.rooms));
        }
    }

    #[test]
    fn a_broadcast_is_published_once_unless_it_is_local() {
        let backend = Arc::new(Noted::default());
        let io =
            Server::build(ServerConfig::default(), Some(backend.clone())).namespace(Namespace::new("/n"));
        io.of("/n").to("a").to("b").emit("x", &1).unwrap();
        io.of("/n").local().emit("y", &2).unwrap();
        assert_eq!(*backend.0.lock(), [r#"/n ["a", "b"] 42/n,["x",1]"#]);
    }
}
