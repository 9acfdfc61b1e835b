//! The part of a socket that does not depend on the types of its namespace.

use std::{
    any::Any,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use engineio::{CloseReason, SessionHandle, Sid, SlowConsumerPolicy};

use crate::{
    event::{args::Args, handshake::Handshake, reason::DisconnectReason},
    hub::{
        Adapter,
        acks::{AckArgs, PendingAcks},
        recovery::Recoverable,
        rooms::{Room, Slot},
    },
    metrics::{NamespaceMetrics, log::Warnings},
    proto::encode::Encoder,
};

/// What sockets of one connection tell it.
#[derive(Debug, Default)]
pub(crate) struct ConnectionSignals {
    /// One of them has asked for the end of the connection.
    requested: AtomicBool,
    /// One of them has left its namespace since the connection last looked.
    left: AtomicBool,
}

impl ConnectionSignals {
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Whether a socket has left since the last call.
    pub(crate) fn take_left(&self) -> bool {
        self.left.load(Ordering::Relaxed) && self.left.swap(false, Ordering::AcqRel)
    }
}

/// A socket, with or without the types of its namespace.
pub(crate) struct SocketCore<T: ?Sized> {
    pub(crate) id: Sid,
    pub(crate) slot: OnceLock<Slot>,
    pub(crate) session: SessionHandle,
    pub(crate) signals: Arc<ConnectionSignals>,
    pub(crate) adapter: Arc<Adapter>,
    pub(crate) handshake: Handshake,
    /// Somebody has begun to take the socket out of its namespace.
    pub(crate) leaving: AtomicBool,
    pub(crate) left: OnceLock<Left>,
    pub(crate) acks: PendingAcks,
    /// If its client may come back.
    pub(crate) recoverable: Option<Box<Recoverable>>,
    pub(crate) typed: T,
}

/// A socket of whatever data.
pub(crate) type AnySocket = Arc<SocketCore<dyn Erased>>;

/// How a socket left its namespace.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) reason: DisconnectReason,
    pub(crate) rooms: Vec<Room>,
}

impl<T: Observed + ?Sized> SocketCore<T> {
    pub(crate) fn id(&self) -> Sid {
        self.id
    }

    pub(crate) fn session(&self) -> &SessionHandle {
        &self.session
    }

    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    pub(crate) fn acks(&self) -> &PendingAcks {
        &self.acks
    }

    pub(crate) fn recoverable(&self) -> Option<&Recoverable> {
        self.recoverable.as_deref()
    }

    pub(crate) fn path(&self) -> &str {
        self.adapter.path()
    }

    pub(crate) fn encoder(&self) -> Encoder<'_> {
        self.adapter.encoder()
    }

    pub(crate) fn metrics(&self) -> &NamespaceMetrics {
        &self.adapter.hooks.metrics
    }

    pub(crate) fn warnings(&self) -> &Warnings {
        &self.adapter.hooks.warnings
    }

    /// Why the socket has left, if it has.
    pub(crate) fn left(&self) -> Option<DisconnectReason> {
        self.left.get().map(|left| left.reason)
    }

    /// Takes the socket out of its namespace; says whether it was in it.
    ///
    /// Whoever is first tells the observer, under no lock; others do not wait for it. The lock of the rooms decides
    /// between leaving and joining a room at the same time.
    pub(crate) fn leave_namespace(&self, reason: DisconnectReason) -> bool {
        if self.leaving.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.typed.notify_end(reason);
        if self.slot.get().is_some() {
            self.metrics().socket_left();
            let (namespace, id) = (self.path(), self.id.as_str());
            tracing::debug!(namespace, id, reason = reason.as_str(), cause = ?reason, "socket left");
        }
        let first = self.adapter.change(|rooms, memory| {
            let rooms = self.slot.get().map(|&slot| rooms.remove(slot)).unwrap_or_default();
            if let (Some(memory), Some(recoverable), Some(_)) = (memory, self.recoverable(), self.slot.get())
            {
                recoverable.leave(memory);
                if reason.is_recoverable() {
                    memory.save(recoverable.save(memory, self.id, &rooms));
                }
            }
            let first = self.left.set(Left { reason, rooms }).is_ok();
            self.acks.clear();
            first
        });
        self.signals.left.store(true, Ordering::Release);
        first
    }

    /// Disconnects the socket and tells its client.
    pub(crate) fn disconnect(&self) {
        if self.leave_namespace(DisconnectReason::ServerNamespaceDisconnect) {
            // A session that has ended needs no word of it.
            if let Ok(frames) = self.encoder().disconnect() {
                let _ = self.session.send_with(frames.as_slice(), SlowConsumerPolicy::Disconnect);
            }
            self.session.wake();
        }
    }

    /// Disconnects all sockets of the client, and ends its connection.
    pub(crate) fn close(&self) {
        self.disconnect();
        self.signals.requested.store(true, Ordering::Release);
        self.session.wake();
    }

    /// Ends the socket of a client that has come back without it: its connection is dead.
    pub(crate) fn replace(&self) {
        self.leave_namespace(DisconnectReason::Closed(CloseReason::TransportClose));
        self.session.close();
    }

    /// How many handlers of the socket may run, if so many may that do not wait for its client. One that asks the client
    /// waits for an acknowledgement, which the client may send behind many events.
    pub(crate) fn max_handlers(&self, max_in_flight: usize) -> usize {
        if max_in_flight == 1 {
            // Each event is to be handled after the one before.
            return 1;
        }
        let asking = self.acks.len();
        max_in_flight.max((max_in_flight + asking).min(self.adapter.config.max_pending_acks))
    }

    /// Takes an answer of the client.
    pub(crate) fn resolve(&self, id: u64, args: AckArgs) {
        self.acks.resolve(id, args);
    }
}

/// What a socket has of the types of its namespace, whatever they are.
pub(crate) trait Erased: Observed + Send + Sync {
    /// A [`Typed`].
    fn as_any(&self) -> &(dyn Any + Send + Sync);
}

/// The observers of a socket of whatever data. They run under no lock; a panic is logged and ends there.
pub(crate) trait Observed {
    /// The socket is about to leave its rooms.
    fn notify_end(&self, reason: DisconnectReason);
    /// Whether anybody looks at what is sent.
    fn has_outgoing(&self) -> bool;
    /// An event has been sent to the socket.
    fn notify_outgoing(&self, name: &str, args: &Args);
}
