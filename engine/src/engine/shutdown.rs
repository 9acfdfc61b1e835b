//! The shutdown of an engine, which closes all sessions and aborts tasks that exceed the timeout.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    Application, CloseReason, SessionHandle, TransportKind,
    session::{mailbox::Command, registry::Registry, shared::Shared},
};

/// The time for aborted tasks to end. A task that computes without yielding cannot be interrupted.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of [`Engine::close`](crate::Engine::close).
///
/// # Examples
///
/// ```
/// use engineio::Shutdown;
///
/// assert_eq!((Shutdown::default().sessions, Shutdown::default().aborted), (0, 0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// The number of sessions that were open and have been closed.
    pub sessions: usize,
    /// The number of sessions with tasks, such as handlers, that still ran at the timeout and were aborted.
    pub aborted: usize,
}

/// Closes all sessions. The engine must already reject new sessions.
pub(crate) async fn close<A: Application>(shared: &Shared<A>) -> Shutdown {
    let (websockets, polling): (Vec<_>, Vec<_>) = shared
        .registry
        .open_sessions()
        .into_iter()
        .partition(|session| session.transport() == TransportKind::WebSocket);
    let sessions = websockets.len() + polling.len();
    // Close polling sessions immediately, because they depend on new connections, which are no longer
    // accepted.
    for session in polling {
        session.close_for(CloseReason::ServerShuttingDown);
    }
    close_in_turn(websockets, shared.config.shutdown_spread).await;
    let mut aborted = 0;
    if timeout(shared.config.shutdown_timeout, shared.registry.wait_empty()).await.is_err() {
        aborted = abort(&shared.registry).await;
    }
    Shutdown { sessions, aborted }
}

/// Divides the time into equal slices and closes each session at a random moment within its own slice, so
/// that the clients do not all reconnect at once.
async fn close_in_turn(sessions: Vec<SessionHandle>, spread: Duration) {
    let slice = spread / u32::try_from(sessions.len()).unwrap_or(u32::MAX).max(1);
    let mut start = Instant::now();
    for session in sessions {
        if !slice.is_zero() {
            sleep_until(start + slice.mul_f64(rand::random())).await;
            start += slice;
        }
        session.close_for(CloseReason::ServerShuttingDown);
    }
}

async fn abort(registry: &Registry) -> usize {
    let unfinished = registry.tasks();
    for session in &unfinished {
        session.command(Command::Abort);
    }
    if timeout(ABORT_TIMEOUT, registry.wait_empty()).await.is_err() {
        tracing::warn!("a session is busy without a pause, and cannot be aborted");
    }
    unfinished.len()
}
