//! Counters of sessions and messages for the application, which do not depend on the feature `metrics`.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{CloseReason, Frame, Message, TransportKind, metrics::limits::LimitCounters};

/// The traffic of an engine since it was created. Returned by [`Engine::traffic`](crate::Engine::traffic).
///
/// # Examples
///
/// ```
/// use engineio::{Application, CloseReason, Engine};
///
/// fn lost<A: Application>(engine: &Engine<A>) -> u64 {
///     let traffic = engine.traffic();
///     traffic.closed().filter(|(reason, _)| *reason == CloseReason::PingTimeout).map(|(_, count)| count).sum()
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// The number of sessions that were opened.
    pub opened: u64,
    /// The number of open sessions on HTTP long-polling.
    pub polling_sessions: usize,
    /// The number of messages from clients, while there was a [`MessageCounter`].
    pub messages_received: u64,
    /// Their size in bytes, without framing and before compression.
    pub bytes_received: u64,
    /// The number of messages that were passed to a transport, while there was a [`MessageCounter`].
    pub messages_sent: u64,
    /// Their size in bytes.
    pub bytes_sent: u64,
    closed: [u64; CloseReason::ALL.len()],
}

impl Traffic {
    /// Returns the number of sessions that were closed, for each reason.
    pub fn closed(&self) -> impl Iterator<Item = (CloseReason, u64)> {
        CloseReason::ALL.into_iter().zip(self.closed)
    }
}

/// The counters of an engine.
#[derive(Debug, Default)]
pub(crate) struct TrafficCounters {
    sessions: Arc<SessionCounters>,
    /// The number of [`MessageCounter`]s. Without any, no messages are counted.
    counters: AtomicUsize,
    messages_received: AtomicU64,
    bytes_received: AtomicU64,
    messages_sent: AtomicU64,
    bytes_sent: AtomicU64,
}

#[derive(Debug, Default)]
struct SessionCounters {
    opened: AtomicU64,
    polling: AtomicUsize,
    closed: [AtomicU64; CloseReason::ALL.len()],
}

impl TrafficCounters {
    #[inline]
    pub(crate) fn received(&self, message: &Message<'_>) {
        if self.counters.load(Relaxed) > 0 {
            let len = match message {
                Message::Text(text) => text.len(),
                Message::Binary(bytes) => bytes.len(),
            };
            self.count_received(len);
        }
    }

    /// Counts messages that are handed to a transport.
    #[inline]
    pub(crate) fn sent(&self, frames: &VecDeque<Frame>) {
        if self.counters.load(Relaxed) > 0 {
            self.count_sent(frames);
        }
    }

    // Not inlined into the loops of a session, which are slower with more code. The message itself is not passed, because
    // it would have to be in memory.
    #[cold]
    fn count_received(&self, len: usize) {
        self.messages_received.fetch_add(1, Relaxed);
        self.bytes_received.fetch_add(len as u64, Relaxed);
    }

    #[cold]
    fn count_sent(&self, frames: &VecDeque<Frame>) {
        // The packet type before a text is not part of the message.
        let len = |frame: &Frame| frame.payload().len() - usize::from(!frame.is_binary());
        self.messages_sent.fetch_add(frames.len() as u64, Relaxed);
        self.bytes_sent.fetch_add(frames.iter().map(len).sum::<usize>() as u64, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Traffic {
        let mut closed = [0; CloseReason::ALL.len()];
        for (count, counter) in closed.iter_mut().zip(&self.sessions.closed) {
            *count = counter.load(Relaxed);
        }
        Traffic {
            opened: self.sessions.opened.load(Relaxed),
            polling_sessions: self.sessions.polling.load(Relaxed),
            messages_received: self.messages_received.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            messages_sent: self.messages_sent.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            closed,
        }
    }
}

/// Lets an engine count messages until it is dropped. Returned by
/// [`Engine::count_messages`](crate::Engine::count_messages).
#[derive(Debug)]
#[must_use = "messages are counted until this is dropped"]
pub struct MessageCounter(Arc<LimitCounters>);

impl MessageCounter {
    pub(crate) fn new(counters: Arc<LimitCounters>) -> Self {
        counters.traffic.counters.fetch_add(1, Relaxed);
        Self(counters)
    }
}

impl Drop for MessageCounter {
    fn drop(&mut self) {
        self.0.traffic.counters.fetch_sub(1, Relaxed);
    }
}

/// A guard that counts a session as open until it is dropped.
#[derive(Debug)]
pub(crate) struct CountedSession {
    sessions: Arc<SessionCounters>,
    is_polling: bool,
    reason: CloseReason,
}

impl CountedSession {
    pub(crate) fn new(counters: &TrafficCounters, transport: TransportKind) -> Self {
        let sessions = counters.sessions.clone();
        sessions.opened.fetch_add(1, Relaxed);
        let is_polling = transport == TransportKind::Polling;
        sessions.polling.fetch_add(usize::from(is_polling), Relaxed);
        // This reason is counted if the task is dropped with the runtime before `closed` is called.
        Self { sessions, is_polling, reason: CloseReason::ForcedClose }
    }

    pub(crate) fn upgraded(&mut self) {
        self.sessions.polling.fetch_sub(usize::from(self.is_polling), Relaxed);
        self.is_polling = false;
    }

    /// Sets the reason that is counted on drop.
    pub(crate) fn closed(&mut self, reason: CloseReason) {
        self.reason = reason;
    }
}

impl Drop for CountedSession {
    fn drop(&mut self) {
        self.upgraded();
        self.sessions.closed[self.reason as usize].fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_polling_until_it_is_upgraded_or_closed() {
        let counters = TrafficCounters::default();
        let polling = || counters.snapshot().polling_sessions;
        let mut first = CountedSession::new(&counters, TransportKind::Polling);
        let second = CountedSession::new(&counters, TransportKind::Polling);
        let _third = CountedSession::new(&counters, TransportKind::WebSocket);
        assert_eq!((polling(), counters.snapshot().opened), (2, 3));
        first.upgraded();
        assert_eq!(polling(), 1);
        first.closed(CloseReason::PingTimeout);
        drop((first, second));
        assert_eq!(polling(), 0);
        let closed: Vec<_> = counters.snapshot().closed().filter(|(_, count)| *count > 0).collect();
        assert_eq!(closed, [(CloseReason::PingTimeout, 1), (CloseReason::ForcedClose, 1)]);
    }

    #[test]
    fn messages_are_counted_only_while_someone_wants_it() {
        let limits = Arc::new(LimitCounters::default());
        let counters = &limits.traffic;
        let frames = VecDeque::from([Frame::text("abc"), Frame::binary(vec![1, 2].into())]);
        let send = || {
            counters.received(&Message::Text("é"));
            counters.sent(&frames);
        };
        send();
        assert_eq!(counters.snapshot(), Traffic::default());
        let [first, second] = [(); 2].map(|()| MessageCounter::new(limits.clone()));
        drop(first);
        send();
        drop(second);
        send();
        let counted = Traffic {
            messages_received: 1,
            bytes_received: 2,
            messages_sent: 2,
            bytes_sent: 5,
            ..Traffic::default()
        };
        assert_eq!(counters.snapshot(), counted);
    }
}
