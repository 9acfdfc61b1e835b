//! Timeouts and the ping limit of a WebSocket client, with the clock as an argument.

use std::time::{Duration, Instant};

/// The multiple of the ping limit above which the session is closed.
const ABUSE_FACTOR: u32 = 10;

/// The deadlines of a WebSocket client and its ping counter.
#[derive(Debug, Default)]
pub(crate) struct PeerTimeouts {
    /// The deadline for accepting another byte. Set only while bytes are queued.
    write_by: Option<Instant>,
    /// The deadline for completing a message. Set only while part of a message has arrived.
    complete_by: Option<Instant>,
    /// Boxed, because clients of Engine.IO rarely send pings of the WebSocket protocol.
    pings: Option<Box<PingCount>>,
}

/// The number of pings within a second.
#[derive(Debug)]
struct PingCount {
    start: Instant,
    count: u32,
}

/// The deadline that a client missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// The client accepted none of the queued bytes in time.
    Write,
    /// The client did not complete a message in time.
    Message,
}

/// The reaction to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PingVerdict {
    Reply,
    Ignore,
    /// The session is closed.
    Close,
}

impl PeerTimeouts {
    /// Updates the write deadline after a write. `taken` is `true` if the client accepted any bytes, and
    /// `waiting` is `true` if bytes are still queued.
    pub(crate) fn on_write(&mut self, now: Instant, timeout: Duration, taken: bool, waiting: bool) {
        if !waiting {
            self.write_by = None;
        } else if taken || self.write_by.is_none() {
            self.write_by = Some(now + timeout);
        }
    }

    /// Clears the message deadline, because a message is complete.
    pub(crate) fn on_message(&mut self) {
        self.complete_by = None;
    }

    /// Updates the message deadline after a read. `incomplete` is `true` if the read ended within a message.
    pub(crate) fn on_read(&mut self, now: Instant, timeout: Duration, incomplete: bool) {
        if !incomplete {
            self.complete_by = None;
        } else if self.complete_by.is_none() {
            self.complete_by = Some(now + timeout);
        }
    }

    /// Counts a ping.
    pub(crate) fn ping(&mut self, now: Instant, per_second: u32) -> PingVerdict {
        let pings = self.pings.get_or_insert_with(|| Box::new(PingCount { start: now, count: 0 }));
        if now >= pings.start + Duration::from_secs(1) {
            **pings = PingCount { start: now, count: 0 };
        }
        pings.count = pings.count.saturating_add(1);
        if pings.count <= per_second {
            PingVerdict::Reply
        } else if pings.count <= per_second.saturating_mul(ABUSE_FACTOR) {
            PingVerdict::Ignore
        } else {
            PingVerdict::Close
        }
    }

    /// Returns the instant at which [`take_expired`](Self::take_expired) must be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.write_by.into_iter().chain(self.complete_by).min()
    }

    /// Returns a deadline that the client missed, and clears that deadline.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<Expired> {
        if self.write_by.take_if(|by| *by <= now).is_some() {
            return Some(Expired::Write);
        }
        self.complete_by.take_if(|by| *by <= now).map(|_| Expired::Message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn a_client_that_takes_something_has_time_for_more() {
        let (mut timeouts, now) = (PeerTimeouts::default(), start());
        timeouts.on_write(now, TIMEOUT, true, false);
        assert_eq!(timeouts.deadline(), None);
        timeouts.on_write(now, TIMEOUT, false, true);
        timeouts.on_write(now + TIMEOUT / 2, TIMEOUT, false, true);
        assert_eq!(timeouts.deadline(), Some(now + TIMEOUT));
        timeouts.on_write(now + TIMEOUT / 2, TIMEOUT, true, true);
        assert_eq!(timeouts.take_expired(now + TIMEOUT), None);
        assert_eq!(timeouts.take_expired(now + TIMEOUT / 2 + TIMEOUT), Some(Expired::Write));
        assert_eq!(timeouts.deadline(), None);
    }

    #[test]
    fn each_message_has_its_own_time() {
        let (mut timeouts, now) = (PeerTimeouts::default(), start());
        timeouts.on_read(now, TIMEOUT, true);
        timeouts.on_read(now + TIMEOUT / 2, TIMEOUT, true);
        assert_eq!(timeouts.deadline(), Some(now + TIMEOUT));
        timeouts.on_message();
        timeouts.on_read(now + TIMEOUT / 2, TIMEOUT, true);
        assert_eq!(timeouts.take_expired(now + TIMEOUT), None);
        assert_eq!(timeouts.take_expired(now + TIMEOUT / 2 + TIMEOUT), Some(Expired::Message));
    }

    #[test]
    fn pings_are_limited_exactly() {
        let (mut timeouts, now) = (PeerTimeouts::default(), start());
        let second = Duration::from_secs(1);
        for start in [now, now + second] {
            let verdicts: Vec<_> = (0..31).map(|_| timeouts.ping(start, 3)).collect();
            assert_eq!(verdicts[..3], [PingVerdict::Reply; 3]);
            assert_eq!(verdicts[3..30], [PingVerdict::Ignore; 27]);
            assert_eq!(verdicts[30], PingVerdict::Close);
        }
        assert_eq!(timeouts.ping(now + second + second / 2, 3), PingVerdict::Close);
        assert_eq!(timeouts.ping(now + second * 2, 3), PingVerdict::Reply);
    }
}
