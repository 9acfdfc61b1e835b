//! Handlers of events from other servers, without their types.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
};

use serde_json::json;

use crate::{
    event::error::{Chain, EventError},
    hub::{Adapter, acks::AckArgs},
    proto::{
        args::{ArgsError, RawArgs},
        encode::{Carrier, Encoder, Frames},
    },
};

/// A handler that runs, until it gives its answer.
pub(crate) type ServerEventFuture = Pin<Box<dyn Future<Output = Option<AckArgs>> + Send>>;

/// A handler without its types.
pub(crate) type ServerHandler =
    Box<dyn Fn(Arc<Adapter>, RawArgs<'_>) -> Result<ServerEventFuture, ArgsError> + Send + Sync>;

/// Answers stay inside of the cluster: they are encoded as if for the namespace `/`, which takes no room.
pub(crate) const ROOT: &str = "/";

/// Starts a handler. What goes wrong with the arguments is an answer too.
pub(crate) fn start(handler: &ServerHandler, adapter: Arc<Adapter>, raw: RawArgs<'_>) -> ServerEventFuture {
    // Reading the arguments runs the user's `Deserialize`, which may panic as a handler may.
    let error = match catch_unwind(AssertUnwindSafe(|| handler(adapter, raw))) {
        Ok(Ok(handling)) => return handling,
        Ok(Err(ArgsError::Mismatch(error))) => EventError::public(format!("invalid arguments: {error}")),
        Ok(Err(ArgsError::Malformed)) => EventError::public("invalid arguments"),
        Err(_) => EventError::panicked("reading the arguments"),
    };
    Box::pin(std::future::ready(failed(&error)))
}

pub(crate) fn failed(error: &EventError) -> Option<AckArgs> {
    if let Some(cause) = error.cause() {
        engineio::__log!(warn, cause = %Chain(cause), "handler of a server event failed");
    }
    let frames = Encoder::plain(ROOT).args(Carrier::Ack { id: 0 }, &json!({ "error": error.message() }));
    frames.ok().as_ref().map(answer)
}

pub(crate) fn answer(frames: &Frames) -> AckArgs {
    let (payload, attachments) = frames.parts(ROOT);
    AckArgs { payload: payload.into(), attachments }
}
