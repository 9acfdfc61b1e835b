//! How fast a WebSocket client must take and send: pure, with the clock handed in.

use std::time::{Duration, Instant};

/// How many times as many pings as are answered end the session.
const PATIENCE: u32 = 10;

/// What a client must get done, and by when.
#[derive(Debug, Default)]
pub(crate) struct PeerTimeouts {
    /// When it must have taken another byte; set only while some wait.
    take_by: Option<Instant>,
    /// When a message must be complete; set only while a part of it has come.
    complete_by: Option<Instant>,
    /// The second in which pings are counted.
    second: Option<Instant>,
    pings: u32,
}

/// What a client has not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Took nothing of what waits.
    Taking,
    /// Did not complete a message.
    Sending,
}

/// What a ping gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PingVerdict {
    Answered,
    Ignored,
    /// The end of the session.
    Abuse,
}

impl PeerTimeouts {
    /// Bytes were offered to the client: whether it took any, and whether more wait.
    pub(crate) fn offered(&mut self, now: Instant, timeout: Duration, taken: bool, waiting: bool) {
        if !waiting {
            self.take_by = None;
        } else if taken || self.take_by.is_none() {
            self.take_by = Some(now + timeout);
        }
    }

    /// A message was complete.
    pub(crate) fn completed(&mut self) {
        self.complete_by = None;
    }

    /// Bytes came, and at the end of them a message is incomplete or not.
    pub(crate) fn received(&mut self, now: Instant, timeout: Duration, incomplete: bool) {
        if !incomplete {
            self.complete_by = None;
        } else if self.complete_by.is_none() {
            self.complete_by = Some(now + timeout);
        }
    }

    /// A ping came.
    pub(crate) fn ping(&mut self, now: Instant, per_second: u32) -> PingVerdict {
        if self.second.is_none_or(|second| now >= second + Duration::from_secs(1)) {
            self.second = Some(now);
            self.pings = 0;
        }
        self.pings = self.pings.saturating_add(1);
        if self.pings <= per_second {
            PingVerdict::Answered
        } else if self.pings <= per_second.saturating_mul(PATIENCE) {
            PingVerdict::Ignored
        } else {
            PingVerdict::Abuse
        }
    }

    /// When [`late`](Self::late) is to be asked.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.take_by.into_iter().chain(self.complete_by).min()
    }

    /// What the client should have done by now; that deadline is forgotten.
    pub(crate) fn late(&mut self, now: Instant) -> Option<Expired> {
        if self.take_by.take_if(|by| *by <= now).is_some() {
            return Some(Expired::Taking);
        }
        self.complete_by.take_if(|by| *by <= now).map(|_| Expired::Sending)
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
        let (mut pace, now) = (PeerTimeouts::default(), start());
        pace.offered(now, TIMEOUT, true, false);
        assert_eq!(pace.deadline(), None);
        pace.offered(now, TIMEOUT, false, true);
        pace.offered(now + TIMEOUT / 2, TIMEOUT, false, true);
        assert_eq!(pace.deadline(), Some(now + TIMEOUT));
        pace.offered(now + TIMEOUT / 2, TIMEOUT, true, true);
        assert_eq!(pace.late(now + TIMEOUT), None);
        assert_eq!(pace.late(now + TIMEOUT / 2 + TIMEOUT), Some(Expired::Taking));
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn each_message_has_its_own_time() {
        let (mut pace, now) = (PeerTimeouts::default(), start());
        pace.received(now, TIMEOUT, true);
        pace.received(now + TIMEOUT / 2, TIMEOUT, true);
        assert_eq!(pace.deadline(), Some(now + TIMEOUT));
        pace.completed();
        pace.received(now + TIMEOUT / 2, TIMEOUT, true);
        assert_eq!(pace.late(now + TIMEOUT), None);
        assert_eq!(pace.late(now + TIMEOUT / 2 + TIMEOUT), Some(Expired::Sending));
    }

    #[test]
    fn pings_are_limited_exactly() {
        let (mut pace, now) = (PeerTimeouts::default(), start());
        let second = Duration::from_secs(1);
        for start in [now, now + second] {
            let fates: Vec<_> = (0..31).map(|_| pace.ping(start, 3)).collect();
            assert_eq!(fates[..3], [PingVerdict::Answered; 3]);
            assert_eq!(fates[3..30], [PingVerdict::Ignored; 27]);
            assert_eq!(fates[30], PingVerdict::Abuse);
        }
        assert_eq!(pace.ping(now + second + second / 2, 3), PingVerdict::Abuse);
        assert_eq!(pace.ping(now + second * 2, 3), PingVerdict::Answered);
    }
}
