//! Handles to the metrics of the recorder that is installed when the engine is created. All metrics are
//! looked up at that time.

use std::{array, collections::VecDeque, sync::Arc};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::{CloseReason, Frame, Limit, Message, RequestError, TransportKind};

/// All transports, in the order of declaration.
const TRANSPORTS: [TransportKind; 2] = [TransportKind::Polling, TransportKind::WebSocket];
/// The codes of [`RequestError`], used as labels.
const CODES: [&str; 6] = ["0", "1", "2", "3", "4", "5"];

/// The metrics of an engine.
#[derive(Debug)]
pub(crate) struct Metrics {
    sessions: Arc<Sessions>,
    messages_received: Counter,
    received_bytes: Counter,
    messages_sent: Counter,
    sent_bytes: Counter,
    queued_bytes: Histogram,
    refused: [Counter; CODES.len()],
    limit_hits: [Counter; Limit::ALL.len()],
    dropped: Counter,
    #[cfg(feature = "forwarding")]
    forwarded: Counter,
    #[cfg(feature = "forwarding")]
    forwarding_errors: Counter,
}

/// Metrics of the session lifecycle, shared with each [`OpenSession`].
#[derive(Debug)]
struct Sessions {
    open: [Gauge; TRANSPORTS.len()],
    opened: [Counter; TRANSPORTS.len()],
    closed: [Counter; CloseReason::ALL.len()],
    upgrades: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        describe();
        Self {
            sessions: Arc::new(Sessions {
                open: TRANSPORTS.map(|kind| gauge!("engineio_sessions", "transport" => kind.as_str())),
                opened: TRANSPORTS
                    .map(|kind| counter!("engineio_sessions_opened_total", "transport" => kind.as_str())),
                closed: CloseReason::ALL
                    .map(|reason| counter!("engineio_sessions_closed_total", "reason" => reason.as_str())),
                upgrades: counter!("engineio_upgrades_total"),
            }),
            messages_received: counter!("engineio_messages_received_total"),
            received_bytes: counter!("engineio_received_bytes_total"),
            messages_sent: counter!("engineio_messages_sent_total"),
            sent_bytes: counter!("engineio_sent_bytes_total"),
            queued_bytes: histogram!("engineio_queued_bytes"),
            refused: CODES.map(|code| counter!("engineio_requests_refused_total", "code" => code)),
            limit_hits: array::from_fn(
                |at| counter!("engineio_limit_hits_total", "limit" => Limit::ALL[at].as_str()),
            ),
            dropped: counter!("engineio_messages_dropped_total"),
            #[cfg(feature = "forwarding")]
            forwarded: counter!("engineio_requests_forwarded_total"),
            #[cfg(feature = "forwarding")]
            forwarding_errors: counter!("engineio_forwarding_errors_total"),
        }
    }
}

fn describe() {
    describe_gauge!("engineio_sessions", Unit::Count, "Sessions that are open.");
    describe_counter!("engineio_sessions_opened_total", Unit::Count, "Sessions that have begun.");
    describe_counter!("engineio_sessions_closed_total", Unit::Count, "Sessions that have ended.");
    describe_counter!(
        "engineio_upgrades_total",
        Unit::Count,
        "Sessions that went from polling to WebSocket."
    );
    describe_counter!("engineio_messages_received_total", Unit::Count, "Messages of clients.");
    describe_counter!("engineio_received_bytes_total", Unit::Bytes, "The size of the messages of clients.");
    describe_counter!("engineio_messages_sent_total", Unit::Count, "Messages handed to a transport.");
    describe_counter!("engineio_sent_bytes_total", Unit::Bytes, "The size of the messages that were sent.");
    describe_histogram!("engineio_queued_bytes", Unit::Bytes, "What waits for a client when it is sent to.");
    describe_counter!("engineio_requests_refused_total", Unit::Count, "Requests that were refused.");
    describe_counter!("engineio_limit_hits_total", Unit::Count, "How often clients hit a limit.");
    describe_counter!("engineio_messages_dropped_total", Unit::Count, "Messages that were given up.");
    #[cfg(feature = "forwarding")]
    describe_counter!(
        "engineio_requests_forwarded_total",
        Unit::Count,
        "Requests that were forwarded to another server."
    );
    #[cfg(feature = "forwarding")]
    describe_counter!(
        "engineio_forwarding_errors_total",
        Unit::Count,
        "Requests whose other server did not respond."
    );
}

impl Metrics {
    pub(crate) fn received(&self, message: &Message<'_>) {
        let len = match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        };
        self.messages_received.increment(1);
        self.received_bytes.increment(len as u64);
    }

    /// Counts messages that are handed to a transport.
    pub(crate) fn sent(&self, frames: &VecDeque<Frame>) {
        if frames.is_empty() {
            return;
        }
        // The packet type before a text is not part of the message.
        let len = |frame: &Frame| frame.payload().len() - usize::from(!frame.is_binary());
        self.messages_sent.increment(frames.len() as u64);
        self.sent_bytes.increment(frames.iter().map(len).sum::<usize>() as u64);
    }

    /// Counts messages like [`sent`](Self::sent), and records the number of queued bytes.
    pub(crate) fn flushed(&self, buffered: usize, frames: &VecDeque<Frame>) {
        if !frames.is_empty() {
            self.queued_bytes.record(u32::try_from(buffered).unwrap_or(u32::MAX));
            self.sent(frames);
        }
    }

    pub(crate) fn refused(&self, error: RequestError) {
        if let Some(counter) = self.refused.get(usize::from(error.code())) {
            counter.increment(1);
        }
    }

    pub(crate) fn hit(&self, limit: Limit) {
        self.limit_hits[limit as usize].increment(1);
    }

    pub(crate) fn dropped(&self, count: u64) {
        self.dropped.increment(count);
    }

    #[cfg(feature = "forwarding")]
    pub(crate) fn forwarded(&self) {
        self.forwarded.increment(1);
    }

    #[cfg(feature = "forwarding")]
    pub(crate) fn forwarding_failed(&self) {
        self.forwarding_errors.increment(1);
    }
}

/// A guard that counts a session as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenSession {
    sessions: Arc<Sessions>,
    transport: TransportKind,
    reason: CloseReason,
}

impl OpenSession {
    pub(crate) fn new(metrics: &Metrics, transport: TransportKind) -> Self {
        let sessions = metrics.sessions.clone();
        sessions.open[transport as usize].increment(1);
        sessions.opened[transport as usize].increment(1);
        // This reason is the default. It is counted if the task is dropped with the runtime before `closed`
        // is called.
        Self { sessions, transport, reason: CloseReason::ForcedClose }
    }

    pub(crate) fn upgraded(&mut self) {
        self.sessions.upgrades.increment(1);
        self.sessions.open[self.transport as usize].decrement(1);
        self.transport = TransportKind::WebSocket;
        self.sessions.open[self.transport as usize].increment(1);
    }

    /// Sets the reason that is counted on drop.
    pub(crate) fn closed(&mut self, reason: CloseReason) {
        self.reason = reason;
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.sessions.open[self.transport as usize].decrement(1);
        if let Some(counter) = self.sessions.closed.get(self.reason as usize) {
            counter.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_in_the_order_of_their_variants() {
        assert_eq!(TRANSPORTS.map(|kind| kind as usize), [0, 1]);
        assert_eq!(CloseReason::ALL.map(|reason| reason as usize), array::from_fn(|at| at));
        assert_eq!(Limit::ALL.iter().map(|&limit| limit as usize).max(), Some(Limit::ALL.len() - 1));
    }
}
