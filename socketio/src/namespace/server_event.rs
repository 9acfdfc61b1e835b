//! Events from other servers.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
};

use futures::FutureExt;
use serde_json::json;

use crate::{
    event::{
        Answer, IntoAck, Reply,
        error::{AckError, Chain, EventError},
    },
    handles::{ack::AckArgs, broadcast::BroadcastOperator},
    hub::{Adapter, cluster::ServerId},
    proto::{
        args::{ArgsError, FromArgs, RawArgs},
        encode::{Carrier, Encoder, Frames},
    },
};

/// A handler that runs, until it gives its answer.
pub(crate) type Handling = Pin<Box<dyn Future<Output = Option<AckArgs>> + Send>>;

/// A handler without its types.
pub(crate) type ServerHandler =
    Box<dyn Fn(Arc<Adapter>, RawArgs<'_>) -> Result<Handling, ArgsError> + Send + Sync>;

/// Answers stay inside of the cluster: they are encoded as if for the namespace `/`, which takes no room.
const ROOT: &str = "/";

/// Makes a handler of an async function.
pub(crate) fn handler<T, F, Fut>(function: F) -> ServerHandler
where
    T: FromArgs + Send + 'static,
    F: FnOnce(BroadcastOperator, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoAck,
{
    Box::new(move |adapter, raw| {
        let args = T::from_args(raw)?;
        let (function, asked) = (function.clone(), raw.asked);
        Ok(Box::pin(async move {
            let reply = Reply { encoder: Encoder::plain(ROOT), id: asked.then_some(0) };
            let namespace = BroadcastOperator::new(Some(adapter));
            let run = async { function(namespace, args).await.into_ack(reply) };
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(Ok(Answer(frames))) => frames.as_ref().map(answer),
                Ok(Err(error)) => failed(&error),
                Err(_) => failed(&EventError::panicked("the handler")),
            }
        }))
    })
}

/// Starts a handler. What goes wrong with the arguments is an answer too.
pub(crate) fn start(handler: &ServerHandler, adapter: Arc<Adapter>, raw: RawArgs<'_>) -> Handling {
    // Reading the arguments runs the user's `Deserialize`, which may panic as a handler may.
    let error = match catch_unwind(AssertUnwindSafe(|| handler(adapter, raw))) {
        Ok(Ok(handling)) => return handling,
        Ok(Err(ArgsError::Mismatch(error))) => EventError::public(format!("invalid arguments: {error}")),
        Ok(Err(ArgsError::Malformed)) => EventError::public("invalid arguments"),
        Err(_) => EventError::panicked("reading the arguments"),
    };
    Box::pin(std::future::ready(failed(&error)))
}

fn failed(error: &EventError) -> Option<AckArgs> {
    if let Some(cause) = error.cause() {
        engineio::__log!(warn, cause = %Chain(cause), "handler of a server event failed");
    }
    let frames = Encoder::plain(ROOT).args(Carrier::Ack { id: 0 }, &json!({ "error": error.message() }));
    frames.ok().as_ref().map(answer)
}

fn answer(frames: &Frames) -> AckArgs {
    let (payload, attachments) = frames.parts(ROOT);
    AckArgs { payload: payload.into(), attachments }
}

/// What other servers have answered to an event. Made by
/// [`BroadcastOperator::server_side_emit_with_ack`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerAnswers<A> {
    /// The answers, in the order in which they arrived.
    pub answers: Vec<(ServerId, A)>,
    /// Which servers gave none, and why.
    pub missing: Vec<(ServerId, AckError)>,
}
