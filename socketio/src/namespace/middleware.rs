//! Event middleware, which wraps the handlers of a namespace.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::FutureExt;
use smol_str::SmolStr;

use crate::{
    event::{AckResponse, IntoAck, Reply, args::Args, error::EventError},
    handles::socket::Socket,
    namespace::{
        dispatch::{self, AckFuture, Completed, HandlerFuture, Incoming, MemberKey},
        table::HandlerTable,
    },
    proto::args::{ArgsError, FromArgs},
};

/// An event with its name and untyped arguments.
///
/// Middleware ([`Namespace::wrap`](crate::Namespace::wrap)) receives an `Event` and may modify it. Handlers
/// registered with [`Namespace::fallback`](crate::Namespace::fallback) receive an `Event` instead of typed
/// arguments.
#[derive(Debug, Clone)]
pub struct Event {
    /// The name of the event.
    pub name: String,
    /// The arguments of the event.
    pub args: Args,
    wants_ack: bool,
}

impl Event {
    /// Returns `true` if the client requested an acknowledgement.
    pub fn wants_ack(&self) -> bool {
        self.wants_ack
    }

    pub(crate) fn read(event: Incoming<'_>) -> Result<Self, ArgsError> {
        let args = Args::from_args(event.raw)?;
        Ok(Self { name: event.name.to_owned(), args, wants_ack: event.id.is_some() })
    }

    fn incoming(&mut self, key: MemberKey, id: Option<u64>) -> Incoming<'_> {
        Incoming { key, name: &self.name, id, raw: self.args.as_raw(id.is_some()) }
    }
}

pub(crate) type Middleware<D> = Box<dyn Fn(Socket<D>, Event, Next<D>) -> AckFuture + Send + Sync>;

/// The remaining middleware for an event, and the handler of the event.
///
/// If a `Next` is dropped without a call to [`run`](Self::run), neither the remaining middleware nor the
/// handler runs.
#[must_use = "the event is not handled unless it runs"]
pub struct Next<D> {
    table: Arc<HandlerTable<D>>,
    /// The number of middleware functions that have already been called.
    depth: usize,
    socket: Socket<D>,
    key: MemberKey,
    id: Option<u64>,
}

impl<D: Send + Sync + 'static> Next<D> {
    /// Returns the acknowledgement id of the event.
    pub(crate) fn id(&self) -> Option<u64> {
        self.id
    }

    /// Runs the remaining middleware and the handler, and returns the response. The calling middleware should
    /// return the response.
    ///
    /// # Errors
    ///
    /// Returns the error of the handler or of inner middleware. A panic in either of them is returned as an
    /// error. If the arguments are not of the type that the handler expects, returns an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the remaining middleware and the handler.
    pub async fn run(self, mut event: Event) -> Result<AckResponse, EventError> {
        let Self { table, depth, socket, key, id } = self;
        if let Some(middleware) = table.middleware.get(depth) {
            let next = Self { table: table.clone(), depth: depth + 1, socket: socket.clone(), key, id };
            return middleware(socket, event, next).await;
        }
        let Some(handler) = table.find(&event.name) else {
            socket.0.warnings().unhandled_event(socket.path(), &event.name);
            return Ok(AckResponse(None));
        };
        // Decoding the arguments calls `Deserialize` implementations of the user, which may panic.
        let called = catch_unwind(AssertUnwindSafe(|| handler.call(socket.clone(), event.incoming(key, id))));
        match called {
            Ok(Ok(handling)) => handling.await,
            Ok(Err(error)) => {
                let error = EventError::from(error);
                socket.0.warnings().invalid_arguments(socket.path(), &event.name, error.message());
                Err(error)
            }
            Err(_) => Err(EventError::panicked("reading the arguments")),
        }
    }
}

impl<D> std::fmt::Debug for Next<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").field("depth", &self.depth).finish_non_exhaustive()
    }
}

/// Creates middleware from an async function.
pub(crate) fn middleware<D, F, Fut>(function: F) -> Middleware<D>
where
    D: Send + Sync + 'static,
    F: FnOnce(Socket<D>, Event, Next<D>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoAck,
{
    Box::new(move |socket, event, next| {
        let function = function.clone();
        Box::pin(async move {
            let (any, id) = (socket.any(), next.id);
            let reply = Reply { encoder: any.encoder(), id };
            let run = async { function(socket, event, next).await.into_ack(reply) };
            let result = AssertUnwindSafe(run).catch_unwind().await;
            result.unwrap_or_else(|_| Err(EventError::panicked("the middleware")))
        })
    })
}

/// Passes an event through all middleware to the handler, and sends the response.
pub(crate) fn start<D: Send + Sync + 'static>(
    table: &Arc<HandlerTable<D>>,
    socket: &Socket<D>,
    incoming: Incoming<'_>,
) -> Result<HandlerFuture, ArgsError> {
    let metrics = table.metrics(incoming.name);
    metrics.received();
    let event = Event::read(incoming).inspect_err(|_| metrics.refused())?;
    let (key, id) = (incoming.key, incoming.id);
    let next = Next { table: table.clone(), depth: 0, socket: socket.clone(), key, id };
    let (socket, time, name) = (socket.clone(), metrics.start(), SmolStr::from(incoming.name));
    Ok(Box::pin(async move {
        let result = next.run(event).await;
        if let Some(frames) = dispatch::answer(&*socket.0, &name, id, time, result) {
            Box::pin(socket.0.send_ack_wait(&frames)).await;
        }
        Completed::Handled(key)
    }))
}
