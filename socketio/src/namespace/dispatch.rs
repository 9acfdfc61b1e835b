//! The untyped interface between a connection and the typed handlers of its namespaces.

use std::{
    any::{Any, TypeId},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    thread,
};

use engineio::SessionHandle;
use futures::{FutureExt, future::lazy};
use smol_str::SmolStr;
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

/// Identifies one membership of a client in a namespace. Keys are unique within the connection.
pub(crate) type MemberKey = u32;

/// A running handler or hook of a membership. Resolves to the kind of function that completed.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Completed> + Send>>;

/// The kind of function that has completed, with the key of its membership.
pub(crate) enum Completed {
    /// The connect hook completed, so events may be handled.
    Connected(MemberKey),
    /// An event handler completed.
    Handled(MemberKey),
    /// The disconnect hook completed, so the membership can be removed.
    Disconnected(MemberKey),
}

/// A pending admission. Resolves to the member, or to the error that rejects the client.
pub(crate) type ConnectFuture = Pin<Box<dyn Future<Output = Result<Box<dyn Member>, ConnectError>> + Send>>;

/// A guard that a member holds while it is in the namespace. The registry uses guards to count the members of
/// each child of a dynamic namespace.
pub(crate) type Guard = Box<dyn Any + Send + Sync>;

/// A namespace with its data type erased.
pub(crate) trait Endpoint: Send + Sync {
    fn adapter(&self) -> &Arc<Adapter>;

    /// Returns the data type of the sockets in the namespace.
    fn data_type(&self) -> TypeId;

    /// Admits or rejects a client.
    fn admit(
        self: Arc<Self>,
        handshake: Handshake,
        session: SessionHandle,
        signals: Arc<ConnectionSignals>,
        guard: Option<Guard>,
    ) -> ConnectFuture;
}

/// A client in a namespace, with the handlers of the namespace.
pub(crate) trait Member: Send {
    fn socket(&self) -> &SocketCore<dyn Erased>;
    /// Adds the socket to the namespace. Returns `false` if the CONNECT response cannot be sent, for example
    /// because the session is closed.
    fn enter(&self) -> bool;
    fn max_in_flight(&self) -> usize;
    /// Returns the future of the connect hook, or `None` if no hook is registered. The hook runs before the
    /// first event is handled.
    fn connected(&self, key: MemberKey) -> Option<HandlerFuture>;
    /// Returns the future that handles an event, or `None` if there is no handler or if decoding the
    /// arguments panicked.
    fn event(
        &self,
        key: MemberKey,
        name: &str,
        id: Option<u64>,
        raw: RawArgs<'_>,
    ) -> Result<Option<HandlerFuture>, ArgsError>;
    /// Returns the future of the disconnect hook, or `None` if no hook is registered. The hook runs after the
    /// last handler.
    fn disconnected(&self, key: MemberKey, reason: DisconnectReason) -> Option<HandlerFuture>;
}

/// An event that is to be handled.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) key: MemberKey,
    pub(crate) name: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) raw: RawArgs<'a>,
}

/// A running handler or middleware function. Resolves to the response.
pub(crate) type AckFuture = Pin<Box<dyn Future<Output = Result<AckResponse, EventError>> + Send>>;

/// A handler with its argument and return types erased.
pub(crate) trait Handler<D>: Send + Sync {
    fn metrics(&self) -> &EventMetrics;

    /// Decodes the arguments, and returns a future that runs the handler and sends the acknowledgement.
    fn start(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<HandlerFuture, ArgsError>;

    /// Decodes the arguments, and returns a future that runs the handler and resolves to the acknowledgement.
    /// Used if the namespace has middleware.
    fn call(&self, socket: Socket<D>, event: Incoming<'_>) -> Result<AckFuture, ArgsError>;
}

/// A handler that consists of an async function and the decoder of its arguments.
struct FnHandler<F, R> {
    f: F,
    decode: R,
    metrics: EventMetrics,
}

/// Creates a handler from an async function.
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
        let (f, time, name) = (self.f.clone(), self.metrics.start(), SmolStr::from(event.name));
        let Incoming { id, key, .. } = event;
        Ok(Box::pin(async move {
            let any = socket.any();
            let output = run(f, socket, args).await;
            let result = encode(output, Reply { encoder: any.encoder(), id });
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
            let output = run(f, socket, args).await;
            encode(output, Reply { encoder: any.encoder(), id })
        }))
    }
}

/// Runs an async function, and catches its panic.
///
/// The combinators store the arguments and the future of the function in the same place, whereas an async
/// block would store both. The futures of handlers are moved to the heap for each event.
fn run<D, T, F, Fut>(
    function: F,
    socket: Socket<D>,
    args: T,
) -> impl Future<Output = thread::Result<Fut::Output>>
where
    F: FnOnce(Socket<D>, T) -> Fut,
    Fut: Future,
{
    AssertUnwindSafe(lazy(move |_| function(socket, args)).flatten()).catch_unwind()
}

/// Encodes the return value of a handler. Converts a panic of the handler or of the encoding into an error.
fn encode(output: thread::Result<impl IntoAck>, reply: Reply<'_>) -> Result<AckResponse, EventError> {
    let encoded = output.and_then(|output| catch_unwind(AssertUnwindSafe(|| output.into_ack(reply))));
    encoded.unwrap_or_else(|_| Err(EventError::panicked("the handler")))
}

/// Acknowledges an event with the result of its handler. If the queue is full, returns the encoded
/// acknowledgement instead of sending it.
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

/// Instruments a handler with a tracing span, if the span is enabled.
pub(crate) fn traced(run: HandlerFuture, namespace: &str, event: &str) -> HandlerFuture {
    // Check the level first, because a disabled span still records its fields if another crate enables the
    // `log` feature of tracing.
    if LevelFilter::current() < LevelFilter::DEBUG {
        return run;
    }
    let span = tracing::debug_span!("event", namespace, event = clip(event));
    if span.is_disabled() { run } else { Box::pin(run.instrument(span)) }
}

/// Creates a hook from an async function. A hook sends no response to the client.
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
