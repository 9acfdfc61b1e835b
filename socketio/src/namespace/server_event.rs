//! Handlers of events from other servers.

use std::{future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;

use crate::{
    event::{AckResponse, IntoAck, Reply, error::EventError},
    handles::broadcast::BroadcastOperator,
    hub::server_event::{ROOT, ServerHandler, answer, failed},
    proto::{args::FromArgs, encode::Encoder},
};

/// Creates a handler from an async function.
pub(crate) fn handler<T, F, Fut>(function: F) -> ServerHandler
where
    T: FromArgs + Send + 'static,
    F: FnOnce(BroadcastOperator, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoAck,
{
    Box::new(move |adapter, raw| {
        let args = T::from_args(raw)?;
        let (function, wants_ack) = (function.clone(), raw.wants_ack);
        Ok(Box::pin(async move {
            let reply = Reply { encoder: Encoder::plain(ROOT), id: wants_ack.then_some(0) };
            let namespace = BroadcastOperator::new(Some(adapter));
            let run = async { function(namespace, args).await.into_ack(reply) };
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(Ok(AckResponse(frames))) => frames.as_ref().map(answer),
                Ok(Err(error)) => failed(&error),
                Err(_) => failed(&EventError::panicked("the handler")),
            }
        }))
    })
}
