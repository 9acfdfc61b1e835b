//! The part of a socket that depends on the data type of its namespace.

use std::{
    any::Any,
    ops::Deref,
    sync::{Arc, Weak},
};

use crate::{
    event::{args::Args, reason::DisconnectReason},
    handles::{
        observers::{Observers, catch_panic},
        socket::Socket,
    },
    hub::socket_core::{Erased, Observed, SocketCore},
};

/// The data of a socket.
pub(crate) enum Data<D> {
    Own(D),
    /// Data shared with connection state recovery, which passes the data to the next socket of the same
    /// client.
    Shared(Arc<D>),
}

impl<D> Deref for Data<D> {
    type Target = D;

    fn deref(&self) -> &D {
        match self {
            Self::Own(data) => data,
            Self::Shared(data) => data,
        }
    }
}

/// The part of a socket that depends on the data type of its namespace.
pub(crate) struct Typed<D> {
    pub(crate) data: Data<D>,
    pub(crate) observers: Arc<Observers<D>>,
    /// The socket that contains this value. Observers are called with the socket.
    pub(crate) this: Weak<SocketCore<Self>>,
}

impl<D: Send + Sync + 'static> Erased for Typed<D> {
    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl<D> Observed for Typed<D> {
    fn notify_end(&self, reason: DisconnectReason) {
        if let Some(observer) = &self.observers.disconnecting
            && let Some(this) = self.this.upgrade()
        {
            catch_panic("on_disconnecting", || observer(&Socket(this), reason));
        }
    }

    fn has_outgoing(&self) -> bool {
        !self.observers.outgoing.is_empty()
    }

    fn notify_outgoing(&self, name: &str, args: &Args) {
        if let Some(this) = self.this.upgrade() {
            let socket = Socket(this);
            let observers = self.observers.outgoing.iter();
            observers.for_each(|observer| catch_panic("on_any_outgoing", || observer(&socket, name, args)));
        }
    }
}
