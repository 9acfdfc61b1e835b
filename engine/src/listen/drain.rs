//! The signal with which the accept loop drains its connections at shutdown.

use tokio::sync::watch;

/// The phase of the shutdown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Connections close after their current request.
    Draining,
    /// Remaining connections are dropped.
    Over,
}

/// The receiver that each connection holds. The accept loop waits until all receivers are dropped.
#[derive(Clone)]
pub(super) struct DrainSignal(watch::Receiver<Phase>);

impl DrainSignal {
    pub(super) fn channel() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (sender, Self(receiver))
    }

    /// Returns `true` if connections must close after their current request. This is the case while the
    /// accept loop drains them and after its future was dropped. Takes no lock.
    pub(super) fn is_draining(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Completes when connections must be dropped. Never completes if the accept loop is dropped before that.
    pub(super) async fn over(mut self) {
        if self.0.wait_for(|&phase| phase == Phase::Over).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
