//! The untyped interface between a connection and the typed handlers of its namespaces.

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

/// Identifies one membership of a client in a namespace. Unique within the connection.
pub(crate) type MemberKey = u32;

/// A running handler or hook of a membership. Resolves to what has completed.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Completed> + Send>>;

/// The handler or hook that has completed.
pub(crate) enum Completed {
    /// The connect hook: events may be handled now.
    Connected(MemberKey),
    /// An event handler.
    Handled(MemberKey),
    /// The disconnect hook: the membership has ended.
    Disconnected(MemberKey),
}

/// A pending admission.
pub(crate) type ConnectFuture = Pin<Box<dyn Future<Output = Result<Box<dyn Member>, ConnectError>> + Send>>;

/// Held by a member while it is in the namespace. The registry uses it to count the members of a dynamic
/// namespace.
pub(crate) type Guard = Box<dyn Any + Send + Sync>;

/// A namespace, independent of the type of its data.
pub(crate) trait Endpoint: Send + Sync {
    fn adapter(&self) -> &Arc<Adapter>;

    /// Returns the type of the data of its sockets.
    fn data_type(&self) -> TypeId;

    /// Admits a client or rejects it.
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
    /// Adds the socket to the namespace. Returns `false` if the session has ended.
    fn enter(&self) -> bool;
    fn max_in_flight(&self) -> usize;
    /// Returns the connect hook, which runs before the first event, if there is one.
    fn connected(&self, key: MemberKey) -> Option<HandlerFuture>;
    /// Returns the future of the event handler; `None` if there is none.
    fn event(
        &self,
        key: MemberKey,
        name: &str,
        id: Option<u64>,
        raw: RawArgs<'_>,
    ) -> Result<Option<HandlerFuture>, ArgsError>;
    /// Returns the disconnect hook, which runs after the last handler, if there is one.
    fn disconnected(&self, key: MemberKey, reason: DisconnectReason) -> Option<HandlerFuture>;
}

/// An event to be handled.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) key: MemberKey,
    pub(crate) name: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) raw: RawArgs<'a>,
}

/// The result of a handler, for the middleware around it.
pub(crate) type AckFuture = Pin<Box<dyn Future<Output = Result<AckResponse, EventError>> + Send>>;

/// A handler, independent of its types.
pub(crate) trait Handler<D>: Send + Sync {
    fn metrics(&self) -> &EventMetrics;

    /// Decodes the arguments, and returns a future that runs the handler and sends the acknowledgement.
    fn start(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<HandlerFuture, ArgsError>;

    /// Decodes the arguments, and returns a future that runs the handler and resolves to the acknowledgement,
    /// for middleware.
    fn call(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<AckFuture, ArgsError>;
}

/// A handler made from an async function and the decoder of its arguments.
struct FnHandler<F, R> {
    f: F,
    decode: R,
    metrics: EventMetrics,
}

/// Makes a handler from an async function.
pub(crate) fn handler<D, T, F, Fut>(
    f: F,
    decode: impl Fn(Incoming<'_>) -> Result<T, ArgsError> + Send + Sync + 'static,
    metrics: EventMetrics,
) -> Box<dyn Handler<D>>
where
    D: Send + Sync + 'static,
    T: Send + 'static,
    F: FnOnce(Socket<D>, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoAck,
{
    Box::new(FnHandler { f, decode, metrics })
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
        let args = (self.decode)(event).inspect_err(|_| self.metrics.refused())?;
        let (f, time, name) = (self.f.clone(), self.metrics.start(), Box::from(event.name));
        let Incoming { id, key, .. } = event;
        Ok(Box::pin(async move {
            let any = socket.any();
            let result = run(f, socket, args, Reply { encoder: any.encoder(), id }).await;
            if let Some(frames) = answer(&*any, &name, id, time, result) {
                Box::pin(any.send_ack_wait(&frames)).await;
            }
            Completed::Handled(key)
        }))
    }

    fn call(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<AckFuture, ArgsError> {
        let args = (self.decode)(event)?;
        let (f, id) = (self.f.clone(), event.id);
        Ok(Box::pin(async move {
            let any = socket.any();
            run(f, socket, args, Reply { encoder: any.encoder(), id }).await
        }))
    }
}

/// Runs an async function and encodes its return value. Converts a panic into an error.
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

/// Sends the result of an event to the client. Returns the frames if the queue is full.
pub(crate) fn answer<T: Observed + ?Sized>(
    socket: &SocketCore<T>,
    name: &str,
    id: Option<u64>,
    time: HandlerTime,
    result: Result<AckResponse, EventError>,
) -> Option<Frames> {
    time.done(&result);
    match result {
        Ok(AckResponse(frames)) => socket.send_ack(frames?),
        Err(error) => socket.send_failure(name, id, &error),
    }
}

/// Instruments a handler with a span, if it is enabled.
pub(crate) fn traced(run: HandlerFuture, namespace: &str, event: &str) -> HandlerFuture {
    // A disabled span still records its fields if another crate enables the `log` feature of tracing.
    if LevelFilter::current() < LevelFilter::DEBUG {
        return run;
    }
    let span = tracing::debug_span!("event", namespace, event = clip(event));
    if span.is_disabled() { run } else { Box::pin(run.instrument(span)) }
}

/// Makes a hook from an async function without a response.
pub(crate) fn hook<Fut>(what: &'static str, namespace: &Arc<str>, run: Fut, done: Completed) -> HandlerFuture
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
