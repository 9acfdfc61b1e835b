//! Defines the part of a socket that does not depend on the types of its namespace.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use engineio::{CloseReason, SessionHandle, Sid, SlowConsumerPolicy};

use crate::{
    event::{args::Args, handshake::Handshake, reason::DisconnectReason},
    hub::{
        Adapter,
        acks::{AckArgs, PendingAcks},
        lifecycle::{LeaveInfo, Lifecycle},
        recovery::Recoverable,
    },
    metrics::{NamespaceMetrics, log::Warnings},
    proto::encode::Encoder,
};

/// Signals that the sockets of a connection send to the connection.
#[derive(Debug, Default)]
pub(crate) struct ConnectionSignals {
    /// `true` if a socket has requested that the connection be closed.
    requested: AtomicBool,
    /// `true` if a socket has left its namespace since the last call of `take_socket_left`.
    left: AtomicBool,
    /// The number of acknowledgements that wait for room in the queue of the session.
    waiting_acks: AtomicU32,
}

/// Counts an acknowledgement that waits for room, until it is dropped.
pub(crate) struct WaitingAck<'a>(&'a ConnectionSignals);

impl Drop for WaitingAck<'_> {
    fn drop(&mut self) {
        self.0.waiting_acks.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionSignals {
    pub(crate) fn close_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    pub(crate) fn wait_for_room(&self) -> WaitingAck<'_> {
        self.waiting_acks.fetch_add(1, Ordering::Relaxed);
        WaitingAck(self)
    }

    pub(crate) fn has_waiting_acks(&self) -> bool {
        self.waiting_acks.load(Ordering::Relaxed) > 0
    }

    /// Returns `true` if a socket has left since the last call.
    pub(crate) fn take_socket_left(&self) -> bool {
        self.left.load(Ordering::Relaxed) && self.left.swap(false, Ordering::AcqRel)
    }
}

/// A socket. `T` is either the `Typed` part of the namespace or a trait object that erases its type.
pub(crate) struct SocketCore<T: ?Sized> {
    pub(crate) id: Sid,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) session: SessionHandle,
    pub(crate) signals: Arc<ConnectionSignals>,
    pub(crate) adapter: Arc<Adapter>,
    pub(crate) handshake: Handshake,
    pub(crate) acks: PendingAcks,
    /// `Some` if connection state recovery is enabled and the client supports it.
    pub(crate) recoverable: Option<Box<Recoverable>>,
    pub(crate) typed: T,
}

/// A type-erased socket.
pub(crate) type AnySocket = Arc<SocketCore<dyn Erased>>;

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

    /// Returns the reason why the socket has left its namespace, or `None` if the socket has not left.
    pub(crate) fn left(&self) -> Option<DisconnectReason> {
        self.lifecycle.left().map(|left| left.reason)
    }

    /// Removes the socket from its namespace. Returns `false` if another caller has already started to remove
    /// the socket.
    ///
    /// The first caller notifies the observer without holding a lock; concurrent callers return without
    /// waiting for the observer. Leaving the namespace and joining a room are serialized by the lock of the
    /// rooms.
    pub(crate) fn leave_namespace(&self, reason: DisconnectReason) -> bool {
        if !self.lifecycle.start_leaving() {
            return false;
        }
        self.typed.notify_end(reason);
        if self.lifecycle.slot().is_some() {
            self.metrics().socket_left();
            tracing::debug!(
                namespace = self.path(),
                id = self.id.as_str(),
                reason = reason.as_str(),
                cause = ?reason,
                "socket left"
            );
        }
        let mut saved = None;
        let first = self.adapter.change(|rooms, memory| {
            // Another thread may have joined the socket since the check above.
            let slot = self.lifecycle.slot();
            let socket = slot.and_then(|slot| rooms.socket(slot).cloned());
            let rooms = slot.map(|slot| rooms.remove(slot)).unwrap_or_default();
            if let (Some(memory), Some(recoverable), Some(_)) = (memory, self.recoverable(), slot) {
                recoverable.leave(memory);
                if reason.is_recoverable() {
                    memory.save(recoverable.save(memory, self.id, &rooms));
                }
            }
            if self.adapter.event_log.is_some() {
                saved = socket.map(|socket| (socket, rooms.clone()));
            }
            let first = self.lifecycle.leave(LeaveInfo { reason, rooms });
            self.acks.clear();
            first
        });
        if let Some((socket, rooms)) = saved {
            self.adapter.end_session(&socket, rooms, reason.is_recoverable());
        }
        self.signals.left.store(true, Ordering::Release);
        first
    }

    /// Disconnects the socket and sends a DISCONNECT packet to its client.
    pub(crate) fn disconnect(&self) {
        if self.leave_namespace(DisconnectReason::ServerNamespaceDisconnect) {
            // If sending fails, the session is closed and the client does not need the packet.
            if let Ok(frames) = self.encoder().disconnect() {
                let _ = self.session.send_with(frames.as_slice(), SlowConsumerPolicy::Disconnect);
            }
            self.session.wake();
        }
    }

    /// Disconnects the socket and requests that its connection be closed, which disconnects the other sockets
    /// of the connection.
    pub(crate) fn close(&self) {
        self.disconnect();
        self.signals.requested.store(true, Ordering::Release);
        self.session.wake();
    }

    /// Removes the old socket of a client that has reconnected, and closes the connection of the old socket.
    pub(crate) fn replace(&self) {
        self.leave_namespace(DisconnectReason::Closed(CloseReason::TransportClose));
        self.session.close();
    }

    /// Returns the maximum number of handlers of the socket that may run, where `max_in_flight` limits the
    /// handlers that do not wait for the client. A handler that waits for an acknowledgement is not counted,
    /// because the acknowledgement may arrive after many events.
    pub(crate) fn max_handlers(&self, max_in_flight: usize) -> usize {
        if max_in_flight == 1 {
            // Events are handled strictly one after the other.
            return 1;
        }
        let asking = self.acks.len();
        max_in_flight.max((max_in_flight + asking).min(self.adapter.config.max_pending_acks))
    }

    /// Resolves a pending acknowledgement with the arguments from the client.
    pub(crate) fn resolve(&self, id: u64, args: AckArgs) {
        self.acks.resolve(id, args);
    }
}

/// The typed part of a socket behind a trait object.
pub(crate) trait Erased: Observed + Send + Sync {
    /// Returns the `Typed` part for downcasting.
    fn as_any(&self) -> &(dyn Any + Send + Sync);
}

/// Calls the observers of a type-erased socket. No lock is held during a call; a panic of an observer is
/// caught and logged.
pub(crate) trait Observed {
    /// Notifies the observers that the socket is about to leave its rooms.
    fn notify_end(&self, reason: DisconnectReason);
    /// Returns `true` if an observer of outgoing events is registered.
    fn has_outgoing(&self) -> bool;
    /// Notifies the observers that an event has been sent to the socket.
    fn notify_outgoing(&self, name: &str, args: &Args);
}
