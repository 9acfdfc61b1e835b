//! Runs the type-erased handlers of events from other servers.

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

/// The future of a handler. It resolves to the acknowledgement, or to `None` if the handler sends none.
pub(crate) type ServerEventFuture = Pin<Box<dyn Future<Output = Option<AckArgs>> + Send>>;

/// A type-erased handler.
pub(crate) type ServerHandler =
    Box<dyn Fn(Arc<Adapter>, RawArgs<'_>) -> Result<ServerEventFuture, ArgsError> + Send + Sync>;

/// The namespace for which acknowledgements are encoded. They are not sent to clients, and the name of the
/// namespace `/` is omitted in the encoding.
pub(crate) const ROOT: &str = "/";

/// Starts a handler. If the arguments are invalid, the event is acknowledged with an error.
pub(crate) fn start(handler: &ServerHandler, adapter: Arc<Adapter>, raw: RawArgs<'_>) -> ServerEventFuture {
    // Decoding the arguments runs the user's `Deserialize`, which may panic.
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
