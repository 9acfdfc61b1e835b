//! From a connection to handlers whose types it does not know.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use engineio::SessionHandle;
use futures::FutureExt;

use crate::{
    adapter::Adapter,
    error::EventError,
    event::{Answer, IntoAck, Reply},
    handshake::{Handshake, Refuse},
    proto::args::{ArgsError, FromArgs, RawArgs},
    reason::DisconnectReason,
    socket::{AnySocket, Ending, Socket},
};

/// Names one stay of a client in a namespace, for the time of its connection.
pub(crate) type Key = u32;

/// Something of a stay that runs, until it says what is done.
pub(crate) type Running = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What has come to its end.
pub(crate) enum Done {
    /// The hook for a new socket: events may be handled now.
    Connected(Key),
    /// A handler.
    Handled(Key),
    /// The hook for a socket that has left: nothing is left of it.
    Disconnected(Key),
}

/// The answer of an admission.
pub(crate) type Admission = Pin<Box<dyn Future<Output = Result<Box<dyn Member>, Refuse>> + Send>>;

/// A namespace without the type of its data.
pub(crate) trait Endpoint: Send + Sync {
    fn adapter(&self) -> &Arc<Adapter>;

    /// Asks the namespace whether a client may come in.
    fn admit(self: Arc<Self>, handshake: Handshake, session: SessionHandle, ending: Arc<Ending>)
    -> Admission;
}

/// A client in a namespace, with its handlers.
pub(crate) trait Member: Send {
    fn socket(&self) -> AnySocket;
    /// Puts the socket into the namespace. Says whether the session was still there.
    fn enter(&self) -> bool;
    fn max_in_flight(&self) -> usize;
    /// What runs before the first event, if there is anything.
    fn connected(&self, key: Key) -> Option<Running>;
    /// The handler of an event, ready to run; `None` if there is none.
    fn event(
        &self,
        key: Key,
        name: &str,
        id: Option<u64>,
        raw: RawArgs<'_>,
    ) -> Result<Option<Running>, ArgsError>;
    /// What runs after the last handler, if there is anything.
    fn disconnected(&self, key: Key, reason: DisconnectReason) -> Option<Running>;
}

/// An event on its way to its handler.
pub(crate) struct Event<'a> {
    pub(crate) key: Key,
    pub(crate) name: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) raw: RawArgs<'a>,
}

/// A handler without its types.
pub(crate) type Handler<D> = Box<dyn Fn(Socket<D>, Event<'_>) -> Result<Running, ArgsError> + Send + Sync>;

/// Makes a handler of an async function: reads the arguments, runs it, answers with what it returns.
///
/// A panic ends the handler alone: it is logged, and answered as an internal error.
pub(crate) fn handler<D, T, F, Fut>(function: F) -> Handler<D>
where
    D: Send + Sync + 'static,
    T: FromArgs + Send + 'static,
    F: FnOnce(Socket<D>, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoAck,
{
    Box::new(move |socket, Event { key, name, id, raw }| {
        let args = T::from_args(raw)?;
        let function = function.clone();
        let name: Box<str> = name.into();
        Ok(Box::pin(async move {
            let any = socket.any();
            let reply = Reply { encoder: any.encoder(), id };
            let run = async { function(socket, args).await.into_ack(reply) };
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(Ok(Answer(Some(frames)))) => any.answer(&frames),
                Ok(Ok(Answer(None))) => {}
                Ok(Err(error)) => any.fail(&name, id, &error),
                Err(_) => any.fail(&name, id, &EventError::internal("the handler panicked")),
            }
            Done::Handled(key)
        }))
    })
}

/// Makes a hook of an async function that answers nothing.
pub(crate) fn hook(
    what: &'static str,
    run: impl Future<Output = ()> + Send + 'static,
    done: Done,
) -> Running {
    Box::pin(async move {
        if AssertUnwindSafe(run).catch_unwind().await.is_err() {
            tracing::error!("the {what} hook panicked");
        }
        done
    })
}
