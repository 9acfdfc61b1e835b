//! Who is alive: <https://socket.io/docs/v4/engine-io-protocol/#heartbeat>.

use std::time::{Duration, Instant};

/// The heartbeat of a session, independent of its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// The next ping is sent at this instant.
    PingAt(Instant),
    /// A ping is out: the session ends unless something is heard by this instant.
    PongBy(Instant),
}

impl Heartbeat {
    pub(crate) fn deadline(self) -> Instant {
        let (Self::PingAt(at) | Self::PongBy(at)) = self;
        at
    }

    /// Any byte from the client proves that it lives. Node lets only the pong count, so a client that is busy
    /// with a long upload loses its session there.
    pub(crate) fn heard(&mut self, now: Instant, ping_timeout: Duration) {
        if let Self::PongBy(by) = self {
            *by = (*by).max(now + ping_timeout);
        }
    }

    pub(crate) fn pong(&mut self, now: Instant, ping_interval: Duration) {
        *self = Self::PingAt(now + ping_interval);
    }
}
