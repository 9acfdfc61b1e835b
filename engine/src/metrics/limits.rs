//! Counters of limit hits. Every hit goes through [`LimitCounters::hit`].

use std::{
    collections::VecDeque,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    Frame, Message,
    metrics::{Metrics, traffic::TrafficCounters},
};

/// Defines the limits from a table with the documentation of each limit and the name of the option.
macro_rules! limits {
    ($( $(#[$doc:meta])* $limit:ident = $name:literal, )*) => {
        /// A limit that a client can hit. Each limit has the name of the option of
        /// [`EngineConfig`](crate::EngineConfig) that sets the limit.
        ///
        /// # Examples
        ///
        /// ```
        /// use engineio::Limit;
        ///
        /// assert_eq!(Limit::MaxBuffered.as_str(), "max_buffered");
        /// assert!(Limit::ALL.contains(&Limit::MaxBuffered));
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Limit { $( $(#[$doc])* $limit, )* }

        impl Limit {
            /// All limits.
            pub const ALL: &[Self] = &[$( Self::$limit, )*];

            /// Returns the name of the option, which is also the label of the counter.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$limit => $name, )* }
            }
        }
    };
}

limits! {
    /// A message or the body of a POST exceeded
    /// [`max_http_buffer_size`](crate::EngineConfig::max_http_buffer_size).
    MaxHttpBufferSize = "max_http_buffer_size",
    /// A message was dropped by the [`SlowConsumerPolicy`](crate::SlowConsumerPolicy), because more than
    /// [`max_buffered`](crate::EngineConfig::max_buffered) bytes would have been queued for its client.
    MaxBuffered = "max_buffered",
    /// The queue of a client held more than [`max_buffered`](crate::EngineConfig::max_buffered) bytes
    /// for longer than [`slow_consumer_grace`](crate::EngineConfig::slow_consumer_grace).
    SlowConsumerGrace = "slow_consumer_grace",
    /// The queue of a client would have exceeded
    /// [`max_buffered_hard`](crate::EngineConfig::max_buffered_hard).
    MaxBufferedHard = "max_buffered_hard",
    /// The queues of all clients together would have exceeded
    /// [`max_buffered_total`](crate::EngineConfig::max_buffered_total), so the sessions with the
    /// largest load were closed or the message was rejected.
    MaxBufferedTotal = "max_buffered_total",
    /// A client accepted no byte for longer than [`write_timeout`](crate::EngineConfig::write_timeout).
    WriteTimeout = "write_timeout",
    /// A message had more fragments than [`max_fragments`](crate::EngineConfig::max_fragments).
    MaxFragments = "max_fragments",
    /// A message was incomplete after [`message_timeout`](crate::EngineConfig::message_timeout).
    MessageTimeout = "message_timeout",
    /// A WebSocket ping exceeded [`max_pings_per_second`](crate::EngineConfig::max_pings_per_second).
    MaxPingsPerSecond = "max_pings_per_second",
    /// The application accepted no message of a client for longer than
    /// [`read_pause_timeout`](crate::EngineConfig::read_pause_timeout).
    ReadPauseTimeout = "read_pause_timeout",
    /// No byte of the body of a POST arrived for [`body_timeout`](crate::EngineConfig::body_timeout).
    BodyTimeout = "body_timeout",
    /// The body of a POST arrived more slowly than
    /// [`min_body_rate`](crate::EngineConfig::min_body_rate).
    MinBodyRate = "min_body_rate",
    /// A session was rejected, or a pending session was evicted, because there were
    /// [`max_sessions`](crate::EngineConfig::max_sessions) sessions.
    MaxSessions = "max_sessions",
    /// A pending session was evicted because there were more than
    /// [`max_pending_sessions`](crate::EngineConfig::max_pending_sessions) pending sessions.
    MaxPendingSessions = "max_pending_sessions",
    /// A session was rejected because its address had
    /// [`max_sessions_per_address`](crate::EngineConfig::max_sessions_per_address) sessions, or had
    /// opened that many within a second.
    MaxSessionsPerAddress = "max_sessions_per_address",
    /// A session was rejected because there were more handshakes than
    /// [`max_handshakes_per_second`](crate::EngineConfig::max_handshakes_per_second).
    MaxHandshakesPerSecond = "max_handshakes_per_second",
    /// A session was rejected because its connection had pipelined more than
    /// [`max_pipelined_handshakes`](crate::EngineConfig::max_pipelined_handshakes) handshakes ahead of
    /// the responses.
    MaxPipelinedHandshakes = "max_pipelined_handshakes",
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The counters of a server.
#[derive(Debug, Default)]
pub(crate) struct LimitCounters {
    hits: [AtomicU64; Limit::ALL.len()],
    dropped: AtomicU64,
    pub(crate) metrics: Metrics,
    pub(crate) traffic: TrafficCounters,
}

impl LimitCounters {
    /// Counts a hit. Only the first hit of each limit is logged as a warning, because clients can cause any
    /// number of hits.
    pub(crate) fn hit(&self, limit: Limit) {
        let before = self.hits[limit as usize].fetch_add(1, Ordering::Relaxed);
        self.metrics.hit(limit);
        if before == 0 {
            tracing::warn!(%limit, "limit hit (further hits are logged at the level debug)");
        } else {
            tracing::debug!(%limit, "limit hit");
        }
    }

    pub(crate) fn hits(&self, limit: Limit) -> u64 {
        self.hits[limit as usize].load(Ordering::Relaxed)
    }

    /// Counts a message of a client.
    #[inline]
    pub(crate) fn received(&self, message: &Message<'_>) {
        self.traffic.received(message);
        self.metrics.received(message);
    }

    /// Counts messages that are handed to a transport.
    pub(crate) fn sent(&self, frames: &VecDeque<Frame>) {
        self.traffic.sent(frames);
        self.metrics.sent(frames);
    }

    /// Counts messages like [`sent`](Self::sent), and records the number of queued bytes.
    #[inline]
    pub(crate) fn flushed(&self, buffered: usize, frames: &VecDeque<Frame>) {
        self.traffic.sent(frames);
        self.metrics.flushed(buffered, frames);
    }

    /// Counts dropped messages. A group counts once.
    pub(crate) fn count_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
        self.metrics.dropped(count);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_counter_of_its_own() {
        let limits = LimitCounters::default();
        for (count, &limit) in Limit::ALL.iter().enumerate() {
            (0..count).for_each(|_| limits.hit(limit));
        }
        let hits: Vec<_> = Limit::ALL.iter().map(|&limit| limits.hits(limit)).collect();
        assert_eq!(hits, (0..Limit::ALL.len() as u64).collect::<Vec<_>>());
    }
}
