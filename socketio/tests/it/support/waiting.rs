//! Waiting for what must happen, with a deadline that only a broken server meets.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};

/// Nothing on this machine takes that long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long something must stand still to count as stalled. A test passes all the same if it is too short.
const STANDSTILL: Duration = Duration::from_millis(300);

/// Waits for something that must come.
pub(crate) async fn within<F: IntoFuture>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes in time")
}

/// Waits until the condition holds, by letting all others run.
pub(crate) async fn eventually(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Whether something makes no progress.
pub(crate) async fn stalls(future: impl Future) -> bool {
    timeout(STANDSTILL, future).await.is_err()
}

/// Where the server's side of a test notes what happens.
#[derive(Debug)]
pub(crate) struct Log<T>(mpsc::Sender<T>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// What was noted, in order.
#[derive(Debug)]
pub(crate) struct Heard<T>(mpsc::Receiver<T>);

pub(crate) fn log<T>() -> (Log<T>, Heard<T>) {
    let (sender, receiver) = mpsc::channel(100_000);
    (Log(sender), Heard(receiver))
}

impl<T> Log<T> {
    pub(crate) fn note(&self, what: T) {
        assert!(self.0.try_send(what).is_ok(), "nobody reads the log");
    }
}

impl<T> Heard<T> {
    /// The next note.
    pub(crate) async fn next(&mut self) -> T {
        within(self.0.recv()).await.expect("the server still runs")
    }

    /// The next notes.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<T> {
        let mut notes = Vec::with_capacity(count);
        while notes.len() < count {
            notes.push(self.next().await);
        }
        notes
    }

    /// What has been noted until now.
    pub(crate) fn so_far(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    /// Whether nothing has been noted that no test has asked for.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.is_empty()
    }
}
