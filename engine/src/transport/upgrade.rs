//! How a stream leaves HTTP, to become a WebSocket.

use std::{future::Future, pin::Pin, sync::Arc};

use http::Extensions;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;

use super::stream::Stream;

/// A stream that speaks HTTP no more.
pub(crate) struct UpgradedParts {
    pub(crate) stream: Stream,
    /// The answer to the request, if it is still to be written: it leaves with the first frames.
    pub(crate) answer: Vec<u8>,
    /// What the client has sent behind its request.
    pub(crate) rest: Vec<u8>,
}

/// What the task of the connection goes on with: a session, to its end.
pub(crate) type SessionTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the stream; gives back the session that it begins, if it does.
pub(crate) type OnUpgradeFn = Box<dyn FnOnce(UpgradedParts) -> Option<SessionTask> + Send>;

/// The place where a service leaves what is to be done with the stream: an extension of a request that asks for another
/// protocol.
#[derive(Clone, Default)]
pub(crate) struct UpgradeSlot(Arc<Mutex<Option<OnUpgradeFn>>>);

impl UpgradeSlot {
    pub(crate) fn take(&self) -> Option<OnUpgradeFn> {
        self.0.lock().take()
    }
}

/// Calls `then` when the request with these extensions has been answered with 101, by our own accept loop or by hyper.
/// It is dropped if the client goes away before.
pub(crate) fn on_upgrade(
    request: &mut Extensions,
    then: impl FnOnce(UpgradedParts) -> Option<SessionTask> + Send + 'static,
) {
    if let Some(takeover) = request.remove::<UpgradeSlot>() {
        *takeover.0.lock() = Some(Box::new(then));
    } else if let Some(upgrade) = request.remove::<OnUpgrade>() {
        tokio::spawn(async move {
            let session = match upgrade.await {
                Ok(upgraded) => {
                    let (stream, rest) = Stream::from_upgraded(upgraded);
                    then(UpgradedParts { stream, answer: Vec::new(), rest })
                }
                Err(error) => {
                    tracing::debug!(%error, "upgrade failed");
                    None
                }
            };
            if let Some(session) = session {
                session.await;
            }
        });
    } else {
        crate::__log!(warn, "the server in front of the engine does not hand connections over");
    }
}
