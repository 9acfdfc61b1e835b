//! Waiting for what must happen, with a deadline that only a broken server meets.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};

/// Nothing on this machine takes that long.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long something must stand still to count as stalled. A test passes all the same if it is too short.
const STANDSTILL: Duration = Duration::from_millis(300);

/// Waits for something that must come.
pub async fn within<F: IntoFuture>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it comes in time")
}

/// Waits until the condition holds, by letting all others run.
pub async fn eventually(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Returns `true` if something makes no progress.
pub async fn stalls(future: impl Future) -> bool {
    timeout(STANDSTILL, future).await.is_err()
}

/// The place where the server's side of a test notes what happens.
#[derive(Debug)]
pub struct Log<T>(mpsc::Sender<T>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The notes of the server's side, in order.
#[derive(Debug)]
pub struct Heard<T>(mpsc::Receiver<T>);

/// Makes a log, and the end where it is read.
pub fn log<T>() -> (Log<T>, Heard<T>) {
    let (sender, receiver) = mpsc::channel(100_000);
    (Log(sender), Heard(receiver))
}

impl<T> Log<T> {
    /// Notes something.
    pub fn note(&self, what: T) {
        assert!(self.0.try_send(what).is_ok(), "nobody reads the log");
    }
}

impl<T> Heard<T> {
    /// Takes the next note.
    pub async fn next(&mut self) -> T {
        within(self.0.recv()).await.expect("the server still runs")
    }

    /// Takes the next notes.
    pub async fn take(&mut self, count: usize) -> Vec<T> {
        let mut notes = Vec::with_capacity(count);
        while notes.len() < count {
            notes.push(self.next().await);
        }
        notes
    }

    /// Takes the notes until now.
    pub fn so_far(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    /// Returns `true` if no note is left.
    pub fn is_silent(&self) -> bool {
        self.0.is_empty()
    }
}
