//! What the accept loop tells its connections of the end.

use tokio::sync::watch;

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Connections end after their request.
    Draining,
    /// Connections are dropped.
    Over,
}

/// Each connection holds one: it hears of the end by it, and by its drop tells that it has ended.
#[derive(Clone)]
pub(super) struct DrainSignal(watch::Receiver<Phase>);

impl DrainSignal {
    pub(super) fn channel() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (sender, Self(receiver))
    }

    /// Whether connections are to end after their request, as they are when the accept loop itself was dropped. Costs
    /// no more than a look.
    pub(super) fn has_begun(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Returns when connections are to be dropped; never, if the accept loop itself was dropped.
    pub(super) async fn over(mut self) {
        if self.0.wait_for(|&phase| phase == Phase::Over).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
