//! The heartbeat of a session. See <https://socket.io/docs/v4/engine-io-protocol/#heartbeat>.

use std::time::{Duration, Instant};

use super::{dialect::Revision, session::Timing};

/// A ping that is sent less than this long after it was due counts as sent on time. A late timer therefore
/// does not extend the deadline of the pong.
const TIMER_SLACK: Duration = Duration::from_millis(10);

/// The state of a session's heartbeat, independent of its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// The next ping is sent at this instant.
    PingAt(Instant),
    /// A ping is outstanding. The session is closed unless data arrives by this instant.
    PongBy(Instant),
    /// The client sends the pings (protocol 3). The session is closed unless data arrives by this instant.
    ClientPingBy(Instant),
}

impl Heartbeat {
    pub(crate) fn new(now: Instant, timing: &Timing, revision: Revision) -> Self {
        match revision {
            Revision::V4 => Self::PingAt(now + timing.ping_interval),
            Revision::V3 => Self::ClientPingBy(now + timing.ping_interval + timing.ping_timeout),
        }
    }

    /// Returns the time of the last pong, or the start of the session if there was no pong yet. Returns
    /// `None` while a ping is outstanding or if the client sends the pings.
    pub(crate) fn last_pong(self, timing: &Timing) -> Option<Instant> {
        match self {
            Self::PingAt(at) => at.checked_sub(timing.ping_interval),
            Self::PongBy(_) | Self::ClientPingBy(_) => None,
        }
    }

    /// Returns the state after a ping that was due at `due` and was sent at `now`.
    pub(crate) fn ping_sent(due: Instant, now: Instant, timing: &Timing) -> Self {
        let sent = if now < due + TIMER_SLACK { due } else { now };
        Self::PongBy(sent + timing.ping_timeout)
    }

    pub(crate) fn deadline(self) -> Instant {
        let (Self::PingAt(at) | Self::PongBy(at) | Self::ClientPingBy(at)) = self;
        at
    }

    /// Returns `true` if the client sends the pings (protocol 3).
    pub(crate) fn client_pings(self) -> bool {
        matches!(self, Self::ClientPingBy(_))
    }

    /// Extends the deadline when any byte arrives. Node.js counts only pongs, and therefore disconnects a
    /// client that is busy with a long upload.
    pub(crate) fn record_activity(&mut self, now: Instant, timing: &Timing) {
        match self {
            Self::PingAt(_) => {}
            Self::PongBy(by) => *by = (*by).max(now + timing.ping_timeout),
            Self::ClientPingBy(by) => *by = (*by).max(now + timing.ping_interval + timing.ping_timeout),
        }
    }

    pub(crate) fn pong(&mut self, now: Instant, ping_interval: Duration) {
        *self = Self::PingAt(now + ping_interval);
    }
}
