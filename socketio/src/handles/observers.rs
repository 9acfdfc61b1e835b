//! Observers of a namespace. They are called before a socket leaves, and for each event from or to a client.

use std::{
    any::Any,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
};

use crate::{
    event::{args::Args, reason::DisconnectReason},
    handles::socket::Socket,
    hub::socket_core::{Erased, Observed, SocketCore},
    proto::args::{ArgsError, RawArgs},
};

pub(crate) type EndObserver<D> = Box<dyn Fn(&Socket<D>, DisconnectReason) + Send + Sync>;
pub(crate) type EventObserver<D> = Box<dyn Fn(&Socket<D>, &str, &Args) + Send + Sync>;

/// The observers of a namespace, shared by all its sockets.
pub(crate) struct Observers<D> {
    pub(crate) disconnecting: Option<EndObserver<D>>,
    pub(crate) incoming: Vec<EventObserver<D>>,
    pub(crate) outgoing: Vec<EventObserver<D>>,
}

impl<D> Default for Observers<D> {
    fn default() -> Self {
        Self { disconnecting: None, incoming: Vec::new(), outgoing: Vec::new() }
    }
}

impl<D> Observers<D> {
    /// Calls the observers of incoming events, before the handler of the event is started.
    pub(crate) fn notify_incoming(
        &self,
        socket: &Socket<D>,
        name: &str,
        raw: RawArgs<'_>,
    ) -> Result<(), ArgsError> {
        if self.incoming.is_empty() {
            return Ok(());
        }
        let args = &Args::share(raw)?;
        self.incoming.iter().for_each(|observer| catch_panic("on_any", || observer(socket, name, args)));
        Ok(())
    }
}

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

fn catch_panic(what: &'static str, observer: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(observer)).is_err() {
        engineio::__log!(error, "the {what} function panicked");
    }
}
