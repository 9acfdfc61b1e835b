//! Who is alive: <https://socket.io/docs/v4/engine-io-protocol/#heartbeat>.

use std::time::{Duration, Instant};

use super::{dialect::Revision, session::Timing};

/// The heartbeat of a session, independent of its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// The next ping is sent at this instant.
    PingAt(Instant),
    /// A ping is out: the session ends unless something is heard by this instant.
    PongBy(Instant),
    /// The client pings, as protocol 3 wants it: the session ends unless something is heard by this instant.
    HeardBy(Instant),
}

impl Heartbeat {
    pub(crate) fn new(now: Instant, timing: &Timing, revision: Revision) -> Self {
        match revision {
            Revision::V4 => Self::PingAt(now + timing.ping_interval),
            Revision::V3 => Self::HeardBy(now + timing.ping_interval + timing.ping_timeout),
        }
    }

    /// When the session began, or the client answered the last ping; `None` while one is out, or if the client pings.
    pub(crate) fn begun(self, timing: &Timing) -> Option<Instant> {
        match self {
            Self::PingAt(at) => at.checked_sub(timing.ping_interval),
            Self::PongBy(_) | Self::HeardBy(_) => None,
        }
    }

    pub(crate) fn deadline(self) -> Instant {
        let (Self::PingAt(at) | Self::PongBy(at) | Self::HeardBy(at)) = self;
        at
    }

    /// Whether it is the client who pings.
    pub(crate) fn is_of_client(self) -> bool {
        matches!(self, Self::HeardBy(_))
    }

    /// Any byte from the client proves that it lives. Node lets only the pong count, so a client that is busy
    /// with a long upload loses its session there.
    pub(crate) fn record_activity(&mut self, now: Instant, timing: &Timing) {
        match self {
            Self::PingAt(_) => {}
            Self::PongBy(by) => *by = (*by).max(now + timing.ping_timeout),
            Self::HeardBy(by) => *by = (*by).max(now + timing.ping_interval + timing.ping_timeout),
        }
    }

    pub(crate) fn pong(&mut self, now: Instant, ping_interval: Duration) {
        *self = Self::PingAt(now + ping_interval);
    }
}
