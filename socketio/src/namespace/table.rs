//! The functions that are registered with a namespace: the auth function, handlers, middleware and hooks.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use crate::{
    event::{
        handshake::{ConnectError, Handshake},
        reason::DisconnectReason,
    },
    handles::socket::Socket,
    metrics::{EventMetrics, OTHER},
    namespace::{
        dispatch::{Handler, HandlerFuture, Incoming, MemberKey},
        middleware::{self, Middleware},
    },
    proto::args::ArgsError,
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type AdmitFn<D> = Box<dyn Fn(Handshake) -> BoxFuture<Result<D, ConnectError>> + Send + Sync>;
pub(crate) type RestoreFn<D> = Box<dyn Fn(&str) -> Option<D> + Send + Sync>;
type ConnectHook<D> = Box<dyn Fn(Socket<D>, MemberKey) -> HandlerFuture + Send + Sync>;
type DisconnectHook<D> = Box<dyn Fn(Socket<D>, DisconnectReason, MemberKey) -> HandlerFuture + Send + Sync>;

pub(crate) struct HandlerTable<D> {
    pub(crate) admit: AdmitFn<D>,
    /// Restores the data of a socket that was saved by another server, from JSON text.
    pub(crate) restore: Option<RestoreFn<D>>,
    /// The handlers by the name of the event. A tree map is used because it is faster than a hash map for few
    /// names.
    pub(crate) events: BTreeMap<Box<str>, Box<dyn Handler<D>>>,
    /// The handler of events without a registered handler.
    pub(crate) fallback: Option<Box<dyn Handler<D>>>,
    /// The middleware, from the outermost to the innermost.
    pub(crate) middleware: Vec<Middleware<D>>,
    pub(crate) connected: Option<ConnectHook<D>>,
    pub(crate) disconnected: Option<DisconnectHook<D>>,
    pub(crate) max_in_flight: usize,
    /// The metrics of events without a registered handler.
    pub(crate) other: EventMetrics,
}

impl<D: Send + Sync + 'static> HandlerTable<D> {
    pub(crate) fn new(path: &str, admit: AdmitFn<D>) -> Self {
        Self {
            admit,
            restore: None,
            events: BTreeMap::new(),
            fallback: None,
            middleware: Vec::new(),
            connected: None,
            disconnected: None,
            max_in_flight: 256,
            other: EventMetrics::new(path, OTHER),
        }
    }

    /// Returns the handler of an event, or the fallback handler.
    pub(crate) fn find(&self, name: &str) -> Option<&dyn Handler<D>> {
        self.events.get(name).or(self.fallback.as_ref()).map(|handler| &**handler)
    }

    /// Returns the metrics of an event.
    pub(crate) fn metrics(&self, name: &str) -> EventMetrics {
        EventMetrics::found(|| self.find(name).map_or(&self.other, |handler| handler.metrics()))
    }

    /// Returns the future that handles an event, or `None` if the event has no handler and the namespace has
    /// no middleware.
    pub(crate) fn start(
        self: &Arc<Self>,
        socket: &Socket<D>,
        event: Incoming<'_>,
    ) -> Result<Option<HandlerFuture>, ArgsError> {
        if !self.middleware.is_empty() {
            return middleware::start(self, socket, event).map(Some);
        }
        let Some(handler) = self.find(event.name) else {
            self.other.received();
            return Ok(None);
        };
        handler.start(socket.clone(), event).map(Some)
    }
}
