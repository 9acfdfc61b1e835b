//! The typed implementation of a namespace, which admits clients and passes events to the handlers.

use std::{
    any::TypeId,
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use engineio::SessionHandle;
use futures::FutureExt;

use crate::{
    event::{
        error::{Chain, EventError},
        handshake::{ConnectError, Handshake},
        reason::DisconnectReason,
    },
    handles::{
        observers::Observers,
        socket::{Socket, SocketParts},
    },
    hub::{
        Adapter,
        event_log::Claimed,
        recovery::RecoveryClaim,
        socket_core::{ConnectionSignals, Erased, SocketCore},
    },
    namespace::{
        dispatch::{Completed, ConnectFuture, Endpoint, Guard, HandlerFuture, Incoming, Member, MemberKey},
        restore,
        table::HandlerTable,
    },
    proto::args::{ArgsError, RawArgs},
};

/// A namespace of a server. Implements [`Endpoint`] for the data type `D`.
pub(crate) struct NamespaceEndpoint<D> {
    pub(crate) adapter: Arc<Adapter>,
    pub(crate) table: Arc<HandlerTable<D>>,
    pub(crate) observers: Arc<Observers<D>>,
}

impl<D: Send + Sync + 'static> Endpoint for NamespaceEndpoint<D> {
    fn adapter(&self) -> &Arc<Adapter> {
        &self.adapter
    }

    fn data_type(&self) -> TypeId {
        TypeId::of::<D>()
    }

    fn admit(
        self: Arc<Self>,
        handshake: Handshake,
        session: SessionHandle,
        signals: Arc<ConnectionSignals>,
        guard: Option<Guard>,
    ) -> ConnectFuture {
        Box::pin(async move {
            let (adapter, observers) = (self.adapter.clone(), self.observers.clone());
            let parts = SocketParts { session, signals, adapter, handshake, observers };
            let is_recoverable = self.adapter.is_recoverable();
            let claim =
                is_recoverable.then(|| RecoveryClaim::read(&parts.handshake, &parts.session)).flatten();
            let joined = |socket, guard| {
                Ok(Box::new(MemberHandle { socket, table: self.table.clone(), _guard: guard }) as _)
            };
            if let Some(recovery) = &self.adapter.recovery
                && recovery.skip_middlewares
                && let Some(socket) = restore::restore(&parts, claim.as_ref())
            {
                return joined(socket, guard);
            }
            if let (Some(log), Some(claim)) = (&self.adapter.event_log, &claim)
                && let Some(claimed) = log.take(self.adapter.path(), claim).await
            {
                let restored = self.restored_data(&claimed).filter(|_| log.skips_middlewares());
                let data = match restored {
                    Some(data) => data,
                    None => self.admit_client(&parts).await?,
                };
                return match restore::restore_logged(&parts, log, &claimed, data).await {
                    Ok(socket) => joined(socket, guard),
                    Err(Some(data)) if !log.skips_middlewares() => joined(Socket::new(parts, data), guard),
                    Err(_) => joined(Socket::new(parts.clone(), self.admit_client(&parts).await?), guard),
                };
            }
            let data = self.admit_client(&parts).await?;
            let socket = restore::restore(&parts, claim.as_ref());
            joined(socket.unwrap_or_else(|| Socket::new(parts, data)), guard)
        })
    }
}

impl<D: Send + Sync + 'static> NamespaceEndpoint<D> {
    /// Calls the auth function of the namespace.
    async fn admit_client(&self, parts: &SocketParts<D>) -> Result<D, ConnectError> {
        let run = async { (self.table.admit)(parts.handshake.clone()).await };
        let data = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_| {
            engineio::__log!(error, namespace = self.adapter.path(), "the admission panicked");
            Err(ConnectError::new("internal error"))
        });
        data.inspect_err(|error| {
            if let Some(cause) = error.cause() {
                engineio::__log!(warn, namespace = self.adapter.path(), cause = %Chain(cause), "the admission failed");
            }
        })
    }

    /// Returns the data of a socket that another server has saved.
    fn restored_data(&self, claimed: &Claimed) -> Option<D> {
        let restore = self.table.restore.as_ref()?;
        // This runs the user's `Deserialize`.
        catch_unwind(AssertUnwindSafe(|| restore(&claimed.session.data))).unwrap_or_else(|_| {
            engineio::__log!(
                error,
                namespace = self.adapter.path(),
                "restoring the data of a socket panicked"
            );
            None
        })
    }
}

/// A socket with the handlers of its namespace.
struct MemberHandle<D> {
    socket: Socket<D>,
    table: Arc<HandlerTable<D>>,
    /// Prevents the removal of a child of a dynamic namespace. `None` in other namespaces.
    _guard: Option<Guard>,
}

impl<D: Send + Sync + 'static> Member for MemberHandle<D> {
    fn socket(&self) -> &SocketCore<dyn Erased> {
        &*self.socket.0
    }

    fn enter(&self) -> bool {
        self.socket.enter().is_ok()
    }

    fn max_in_flight(&self) -> usize {
        self.table.max_in_flight
    }

    fn connected(&self, key: MemberKey) -> Option<HandlerFuture> {
        self.table.connected.as_ref().map(|hook| hook(self.socket.clone(), key))
    }

    fn event(
        &self,
        key: MemberKey,
        name: &str,
        id: Option<u64>,
        raw: RawArgs<'_>,
    ) -> Result<Option<HandlerFuture>, ArgsError> {
        self.socket.observers().notify_incoming(&self.socket, name, raw)?;
        let observation = &self.socket.0.adapter.observation;
        if observation.is_active() {
            observation.received(self.socket.path(), self.socket.0.id, name, raw);
        }
        // Decoding the arguments calls `Deserialize` implementations of the user, which may panic.
        let event = Incoming { key, name, id, raw };
        let started = catch_unwind(AssertUnwindSafe(|| self.table.start(&self.socket, event)));
        started.unwrap_or_else(|_| {
            let error = EventError::panicked("reading the arguments");
            self.table.metrics(name).failed(&error);
            // Events are not handled while the queue is full, so the error is always sent.
            let _ = self.socket.0.send_failure(name, id, &error);
            // `None` would mean that the event has no handler.
            Ok(Some(Box::pin(ready(Completed::Handled(key)))))
        })
    }

    fn disconnected(&self, key: MemberKey, reason: DisconnectReason) -> Option<HandlerFuture> {
        self.table.disconnected.as_ref().map(|hook| hook(self.socket.clone(), reason, key))
    }
}
