//! The end of a server: all sessions are told, and what goes on too long is aborted.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    Application, CloseReason, SessionHandle, TransportKind,
    session::{mailbox::Command, registry::Registry, shared::Shared},
};

/// How long tasks may take to notice that they are aborted: one that computes is not interrupted.
const ABORT_LIMIT: Duration = Duration::from_secs(1);

/// What the end of a server met.
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
    /// The sessions that were open, and were told.
    pub sessions: usize,
    /// The sessions of which something still ran when the time was over, such as handlers: it was dropped.
    pub aborted: usize,
}

/// Ends all sessions. No new one may begin any more.
pub(crate) async fn close<A: Application>(shared: &Shared<A>) -> Shutdown {
    let (websockets, polling): (Vec<_>, Vec<_>) = shared
        .registry
        .all()
        .into_iter()
        .partition(|session| session.transport() == TransportKind::WebSocket);
    let sessions = websockets.len() + polling.len();
    // At once: they live on new connections, which nobody accepts any more.
    for session in polling {
        session.close_for(CloseReason::ServerShuttingDown);
    }
    tell_in_turn(websockets, shared.config.shutdown_spread).await;
    let mut aborted = 0;
    if timeout(shared.config.shutdown_timeout, shared.registry.emptied()).await.is_err() {
        aborted = abort(&shared.registry).await;
    }
    Shutdown { sessions, aborted }
}

/// Tells each session at a random moment of its own share of the time: their clients do not reconnect all at once.
async fn tell_in_turn(sessions: Vec<SessionHandle>, spread: Duration) {
    let share = spread / u32::try_from(sessions.len()).unwrap_or(u32::MAX).max(1);
    let mut start = Instant::now();
    for session in sessions {
        if !share.is_zero() {
            sleep_until(start + share.mul_f64(rand::random())).await;
            start += share;
        }
        session.close_for(CloseReason::ServerShuttingDown);
    }
}

async fn abort(registry: &Registry) -> usize {
    let unfinished = registry.unfinished();
    for session in &unfinished {
        session.command(Command::Abort);
    }
    if timeout(ABORT_LIMIT, registry.emptied()).await.is_err() {
        tracing::warn!("a session is busy without a pause, and cannot be aborted");
    }
    unfinished.len()
}
