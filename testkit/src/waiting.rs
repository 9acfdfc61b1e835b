//! Waiting for events, with a timeout that expires only if the server is broken.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};

/// The timeout of the tests. No correct operation takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The time without progress after which a future counts as stalled. If it is too short, tests still pass but
/// check less.
const STANDSTILL: Duration = Duration::from_millis(300);

/// Waits for a future and panics if it does not complete in time.
pub async fn within<F: IntoFuture>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes in time")
}

/// Waits until the condition holds, and lets other tasks run between checks.
pub async fn eventually(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Returns `true` if the future does not complete within a short time.
pub async fn stalls(future: impl Future) -> bool {
    timeout(STANDSTILL, future).await.is_err()
}

/// The writing end of a log of events on the server's side of a test.
#[derive(Debug)]
pub struct Log<T>(mpsc::Sender<T>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The reading end of a log.
#[derive(Debug)]
pub struct Heard<T>(mpsc::Receiver<T>);

/// Returns the two ends of a new log.
pub fn log<T>() -> (Log<T>, Heard<T>) {
    let (sender, receiver) = mpsc::channel(100_000);
    (Log(sender), Heard(receiver))
}

impl<T> Log<T> {
    /// Appends an entry.
    pub fn note(&self, what: T) {
        assert!(self.0.try_send(what).is_ok(), "nobody reads the log");
    }
}

impl<T> Heard<T> {
    /// Returns the next entry.
    pub async fn next(&mut self) -> T {
        within(self.0.recv()).await.expect("the server still runs")
    }

    /// Returns the next `count` entries.
    pub async fn take(&mut self, count: usize) -> Vec<T> {
        let mut notes = Vec::with_capacity(count);
        while notes.len() < count {
            notes.push(self.next().await);
        }
        notes
    }

    /// Returns the entries logged so far.
    pub fn so_far(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    /// Returns `true` if the log has no unread entries.
    pub fn is_silent(&self) -> bool {
        self.0.is_empty()
    }
}
