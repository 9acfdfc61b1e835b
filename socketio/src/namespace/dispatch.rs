//! From a connection to handlers whose types it does not know.

use std::{
    any::{Any, TypeId},
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
};

use engineio::SessionHandle;
use futures::FutureExt;
use tracing::{Instrument, level_filters::LevelFilter};

use crate::{
    event::{
        AckResponse, HookResult, IntoAck, Reply,
        error::EventError,
        handshake::{ConnectError, Handshake},
        reason::DisconnectReason,
    },
    handles::socket::Socket,
    hub::{
        Adapter,
        socket_core::{ConnectionSignals, Erased, Observed, SocketCore},
    },
    metrics::{
        EventMetrics, HandlerTime,
        log::{clip, hook_returned},
    },
    proto::{
        args::{ArgsError, RawArgs},
        encode::Frames,
    },
};

/// Names one stay of a client in a namespace, for the time of its connection.
pub(crate) type MemberKey = u32;

/// Something of a stay that runs, until it says what is done.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What has come to its end.
pub(crate) enum Done {
    /// The hook for a new socket: events may be handled now.
    Connected(MemberKey),
    /// A handler.
    Handled(MemberKey),
    /// The hook for a socket that has left: nothing is left of it.
    Disconnected(MemberKey),
}

/// The answer of an admission.
pub(crate) type ConnectFuture = Pin<Box<dyn Future<Output = Result<Box<dyn Member>, ConnectError>> + Send>>;

/// Held by a member for as long as it is in the namespace. The registry counts the members of a dynamic namespace by it.
pub(crate) type Guard = Box<dyn Any + Send + Sync>;

/// A namespace without the type of its data.
pub(crate) trait Endpoint: Send + Sync {
    fn adapter(&self) -> &Arc<Adapter>;

    /// The type of the data of its sockets.
    fn data_type(&self) -> TypeId;

    /// Asks the namespace whether a client may come in.
    fn admit(
        self: Arc<Self>,
        handshake: Handshake,
        session: SessionHandle,
        signals: Arc<ConnectionSignals>,
        guard: Option<Guard>,
    ) -> ConnectFuture;
}

/// A client in a namespace, with its handlers.
pub(crate) trait Member: Send {
    fn socket(&self) -> &SocketCore<dyn Erased>;
    /// Puts the socket into the namespace. Says whether the session was still there.
    fn enter(&self) -> bool;
    fn max_in_flight(&self) -> usize;
    /// What runs before the first event, if there is anything.
    fn connected(&self, key: MemberKey) -> Option<HandlerFuture>;
    /// The handler of an event, ready to run; `None` if there is none.
    fn event(
        &self,
        key: MemberKey,
        name: &str,
        id: Option<u64>,
        raw: RawArgs<'_>,
    ) -> Result<Option<HandlerFuture>, ArgsError>;
    /// What runs after the last handler, if there is anything.
    fn disconnected(&self, key: MemberKey, reason: DisconnectReason) -> Option<HandlerFuture>;
}

/// An event on its way to its handler.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) key: MemberKey,
    pub(crate) name: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) raw: RawArgs<'a>,
}

/// What a handler answers, once it has run.
pub(crate) type AckFuture = Pin<Box<dyn Future<Output = Result<AckResponse, EventError>> + Send>>;

/// A handler without its types.
pub(crate) trait Handler<D>: Send + Sync {
    fn metrics(&self) -> &EventMetrics;

    /// Reads the arguments, and makes what runs and answers the client.
    fn start(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<HandlerFuture, ArgsError>;

    /// Reads the arguments, and makes what runs and gives its answer to the middleware around it.
    fn call(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<AckFuture, ArgsError>;
}

/// A handler of an async function, and how its arguments are read.
struct FnHandler<F, R> {
    body: F,
    read: R,
    metrics: EventMetrics,
}

/// Makes a handler of an async function.
pub(crate) fn handler<D, T, F, Fut>(
    body: F,
    read: impl Fn(Incoming<'_>) -> Result<T, ArgsError> + Send + Sync + 'static,
    metrics: EventMetrics,
) -> Box<dyn Handler<D>>
where
    D: Send + Sync + 'static,
    T: Send + 'static,
    F: FnOnce(Socket<D>, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoAck,
{
    Box::new(FnHandler { body, read, metrics })
}

impl<D, T, F, Fut, R> Handler<D> for FnHandler<F, R>
where
    D: Send + Sync + 'static,
    T: Send + 'static,
    F: FnOnce(Socket<D>, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoAck,
    R: Fn(Incoming<'_>) -> Result<T, ArgsError> + Send + Sync,
{
    fn metrics(&self) -> &EventMetrics {
        &self.metrics
    }

    fn start(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<HandlerFuture, ArgsError> {
        self.metrics.received();
        let args = (self.read)(event).inspect_err(|_| self.metrics.refused())?;
        let (body, time, name) = (self.body.clone(), self.metrics.start(), Box::from(event.name));
        let Incoming { id, key, .. } = event;
        Ok(Box::pin(async move {
            let any = socket.any();
            let result = run(body, socket, args, Reply { encoder: any.encoder(), id }).await;
            if let Some(frames) = answer(&*any, &name, id, time, result) {
                Box::pin(any.answer_wait(&frames)).await;
            }
            Done::Handled(key)
        }))
    }

    fn call(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<AckFuture, ArgsError> {
        let args = (self.read)(event)?;
        let (body, id) = (self.body.clone(), event.id);
        Ok(Box::pin(async move {
            let any = socket.any();
            run(body, socket, args, Reply { encoder: any.encoder(), id }).await
        }))
    }
}

/// Runs an async function, and encodes what it returns. A panic ends it alone.
async fn run<D, T, F, Fut>(
    function: F,
    socket: Socket<D>,
    args: T,
    reply: Reply<'_>,
) -> Result<AckResponse, EventError>
where
    D: Send + Sync + 'static,
    F: FnOnce(Socket<D>, T) -> Fut,
    Fut: Future,
    Fut::Output: IntoAck,
{
    let run = async { function(socket, args).await.into_ack(reply) };
    let result = AssertUnwindSafe(run).catch_unwind().await;
    result.unwrap_or_else(|_| Err(EventError::panicked("the handler")))
}

/// Answers the client with what comes of an event; gives the answer back if the queue is full.
pub(crate) fn answer<T: Observed + ?Sized>(
    socket: &SocketCore<T>,
    name: &str,
    id: Option<u64>,
    time: HandlerTime,
    result: Result<AckResponse, EventError>,
) -> Option<Frames> {
    time.done(&result);
    match result {
        Ok(AckResponse(frames)) => socket.answer(frames?),
        Err(error) => socket.fail(name, id, &error),
    }
}

/// Puts what an event runs into a span, if anybody looks at it.
pub(crate) fn traced(run: HandlerFuture, namespace: &str, event: &str) -> HandlerFuture {
    // A span that is disabled records its fields all the same where something has turned on tracing's feature `log`.
    if LevelFilter::current() < LevelFilter::DEBUG {
        return run;
    }
    let span = tracing::debug_span!("event", namespace, event = clip(event));
    if span.is_disabled() { run } else { Box::pin(run.instrument(span)) }
}

/// Makes a hook of an async function that answers nothing.
pub(crate) fn hook<Fut>(what: &'static str, namespace: &Arc<str>, run: Fut, done: Done) -> HandlerFuture
where
    Fut: Future<Output: HookResult> + Send + 'static,
{
    let namespace = namespace.clone();
    Box::pin(async move {
        let run = async { run.await.into_result() };
        if let Ok(result) = AssertUnwindSafe(run).catch_unwind().await {
            hook_returned(what, &namespace, result);
        } else {
            engineio::__log!(error, namespace = &*namespace, "the {what} hook panicked");
        }
        done
    })
}
