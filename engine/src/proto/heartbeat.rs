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
    /// A ping is due, and no poll is parked that could take it. The session is closed unless a poll or bytes of an
    /// upload arrive by this instant. Packets do not count, because a client that sends need not read.
    PollBy(Instant),
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
            Self::PongBy(_) | Self::PollBy(_) | Self::ClientPingBy(_) => None,
        }
    }

    /// Returns the state after a ping that was due at `due` and was sent at `now`.
    pub(crate) fn ping_sent(due: Instant, now: Instant, timing: &Timing) -> Self {
        Self::PongBy(on_time(due, now) + timing.ping_timeout)
    }

    /// Returns the state after a ping that was due at `due` and waits for a poll at `now`. The client may still be
    /// reading the previous response, which may take it `reading`.
    pub(crate) fn ping_waits(due: Instant, now: Instant, reading: Duration, timing: &Timing) -> Self {
        Self::PollBy(on_time(due, now) + timing.ping_timeout + reading)
    }

    /// Records that the ping that waited is sent.
    pub(crate) fn ping_taken(&mut self, now: Instant, timing: &Timing) {
        if matches!(self, Self::PollBy(_)) {
            *self = Self::PongBy(now + timing.ping_timeout);
        }
    }

    pub(crate) fn deadline(self) -> Instant {
        let (Self::PingAt(at) | Self::PongBy(at) | Self::PollBy(at) | Self::ClientPingBy(at)) = self;
        at
    }

    /// Returns `true` if the client sends the pings (protocol 3).
    pub(crate) fn client_pings(self) -> bool {
        matches!(self, Self::ClientPingBy(_))
    }

    /// Extends the deadline when any byte arrives. Node.js counts only pongs, and therefore disconnects a
    /// client that is busy with a long upload.
    #[inline]
    pub(crate) fn record_activity(&mut self, now: Instant, timing: &Timing) {
        match self {
            Self::PingAt(_) => {}
            Self::PongBy(by) | Self::PollBy(by) => *by = (*by).max(now + timing.ping_timeout),
            Self::ClientPingBy(by) => *by = (*by).max(now + timing.ping_interval + timing.ping_timeout),
        }
    }

    /// Extends the deadline when a packet arrives.
    #[inline]
    pub(crate) fn record_packet(&mut self, now: Instant, timing: &Timing) {
        if !matches!(self, Self::PollBy(_)) {
            self.record_activity(now, timing);
        }
    }

    /// Handles a pong. A pong without a ping is ignored, so a client that does not poll cannot defer the next ping.
    pub(crate) fn pong(&mut self, now: Instant, ping_interval: Duration) {
        if matches!(self, Self::PongBy(_)) {
            *self = Self::PingAt(now + ping_interval);
        }
    }
}

/// Returns the instant at which a ping that was due at `due` counts as sent.
fn on_time(due: Instant, now: Instant) -> Instant {
    if now < due + TIMER_SLACK { due } else { now }
}
