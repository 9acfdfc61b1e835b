//! Observers of a namespace. They are called before a socket leaves, and for each event from or to a client.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    event::{args::Args, reason::DisconnectReason},
    handles::socket::Socket,
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

pub(super) fn catch_panic(what: &'static str, observer: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(observer)).is_err() {
        engineio::__log!(error, "the {what} function panicked");
    }
}
