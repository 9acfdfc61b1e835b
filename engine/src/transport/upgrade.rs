//! The handover of a stream from HTTP to a WebSocket.

use std::{future::Future, pin::Pin, sync::Arc};

use http::Extensions;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;

use super::stream::Stream;

/// A stream after the HTTP upgrade.
pub(crate) struct UpgradedParts {
    pub(crate) stream: Stream,
    /// The response to the request. It is sent with the first frames. Empty if the response is already
    /// written.
    pub(crate) answer: Vec<u8>,
    /// The bytes that the client has sent after the request.
    pub(crate) rest: Vec<u8>,
}

/// The future of a session, which the task of the connection runs to completion.
pub(crate) type SessionTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A callback that takes over the stream and returns the future of the opened session, if any.
pub(crate) type OnUpgradeFn = Box<dyn FnOnce(UpgradedParts) -> Option<SessionTask> + Send>;

/// A slot for the callback that takes over the stream. The slot is an extension of requests for a protocol
/// upgrade.
#[derive(Clone, Default)]
pub(crate) struct UpgradeSlot(Arc<Mutex<Option<OnUpgradeFn>>>);

impl UpgradeSlot {
    pub(crate) fn take(&self) -> Option<OnUpgradeFn> {
        self.0.lock().take()
    }
}

/// Keeps the HTTP/2 connection of a WebSocket open until it is dropped. An extension of requests with the method
/// CONNECT.
#[derive(Clone)]
pub(crate) struct Tunnel(
    #[expect(dead_code, reason = "held until it is dropped")] pub(crate) Arc<dyn Send + Sync>,
);

/// Calls `then` with the stream once the crate's own accept loop or hyper has produced the response 101 to
/// the request, or 200 in HTTP/2, with these extensions. The accept loop passes the unwritten response on in
/// [`UpgradedParts::answer`]. `then` is dropped without a call if the client disconnects first.
pub(crate) fn on_upgrade(
    request: &mut Extensions,
    then: impl FnOnce(UpgradedParts) -> Option<SessionTask> + Send + 'static,
) {
    if let Some(slot) = request.remove::<UpgradeSlot>() {
        *slot.0.lock() = Some(Box::new(then));
    } else if let Some(upgrade) = request.remove::<OnUpgrade>() {
        let tunnel = request.remove::<Tunnel>();
        tokio::spawn(async move {
            let session = match upgrade.await {
                Ok(upgraded) => {
                    let (stream, rest) = Stream::from_upgraded(upgraded);
                    let stream = stream.with_tunnel(tunnel);
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
