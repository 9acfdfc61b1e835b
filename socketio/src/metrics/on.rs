//! Holds handles of the metrics recorder. They are looked up only once, so the recorder must be installed
//! before a namespace is created and its handlers are registered.

use std::sync::Arc;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use tokio::time::Instant;

use super::OTHER;
use crate::event::{AckResponse, error::EventError};

const CONNECT_ERRORS: &str = "socketio_connect_errors_total";

/// The metrics of a namespace, or of all children of a dynamic namespace.
#[derive(Debug, Clone)]
pub(crate) struct NamespaceMetrics {
    sockets: Gauge,
    connect_errors: Counter,
    acks_timed_out: Counter,
    broadcasts: Counter,
    #[cfg(feature = "rate-limit")]
    rate_limited: Counter,
}

impl Default for NamespaceMetrics {
    /// Returns metrics that are not recorded.
    fn default() -> Self {
        Self {
            sockets: Gauge::noop(),
            connect_errors: Counter::noop(),
            acks_timed_out: Counter::noop(),
            broadcasts: Counter::noop(),
            #[cfg(feature = "rate-limit")]
            rate_limited: Counter::noop(),
        }
    }
}

impl NamespaceMetrics {
    pub(crate) fn new(namespace: &str) -> Self {
        describe();
        let labels = [("namespace", namespace.to_owned())];
        Self {
            sockets: gauge!("socketio_sockets", &labels),
            connect_errors: counter!(CONNECT_ERRORS, &labels),
            acks_timed_out: counter!("socketio_acks_timed_out_total", &labels),
            broadcasts: counter!("socketio_broadcasts_total", &labels),
            #[cfg(feature = "rate-limit")]
            rate_limited: counter!("socketio_rate_limited_total", &labels),
        }
    }

    /// Returns the metrics for unknown namespaces.
    pub(crate) fn unknown() -> Self {
        describe();
        Self { connect_errors: counter!(CONNECT_ERRORS, "namespace" => OTHER), ..Self::default() }
    }

    pub(crate) fn connect_refused(&self) {
        self.connect_errors.increment(1);
    }

    pub(crate) fn socket_joined(&self) {
        self.sockets.increment(1);
    }

    pub(crate) fn socket_left(&self) {
        self.sockets.decrement(1);
    }

    pub(crate) fn ack_timed_out(&self) {
        self.acks_timed_out.increment(1);
    }

    pub(crate) fn broadcast(&self) {
        self.broadcasts.increment(1);
    }

    #[cfg(feature = "rate-limit")]
    pub(crate) fn rate_limited(&self) {
        self.rate_limited.increment(1);
    }
}

fn describe() {
    describe_gauge!("socketio_sockets", Unit::Count, "Sockets in the namespace, on this server.");
    describe_counter!(CONNECT_ERRORS, Unit::Count, "Clients that were refused by a namespace.");
    describe_counter!("socketio_acks_timed_out_total", Unit::Count, "Clients that did not answer in time.");
    describe_counter!("socketio_broadcasts_total", Unit::Count, "Broadcasts that began on this server.");
    #[cfg(feature = "rate-limit")]
    describe_counter!("socketio_rate_limited_total", Unit::Count, "Events above a rate limit.");
    describe_counter!("socketio_events_received_total", Unit::Count, "Events of clients.");
    describe_histogram!("socketio_handler_seconds", Unit::Seconds, "From the arrival to the answer.");
    describe_counter!("socketio_handler_failures_total", Unit::Count, "Events that ended with an error.");
}

/// The metrics of a server in its cluster. Dropping the value subtracts its gauges.
#[derive(Debug)]
pub(crate) struct ClusterMetrics {
    connected: Gauge,
    servers: Gauge,
    queued_bytes: Gauge,
    disconnections: Counter,
    dropped: Counter,
    malformed: Counter,
    /// What was recorded last.
    last: ClusterSample,
}

/// The state of a server in its cluster.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ClusterSample {
    pub(crate) is_connected: bool,
    /// The number of servers, including this one, or 0 if it is unknown.
    pub(crate) servers: usize,
    pub(crate) queued_bytes: usize,
    pub(crate) disconnections: u64,
    pub(crate) dropped: u64,
    pub(crate) malformed: u64,
}

impl ClusterMetrics {
    pub(crate) fn new() -> Self {
        describe_cluster();
        Self {
            connected: gauge!("socketio_cluster_connected"),
            servers: gauge!("socketio_cluster_servers"),
            queued_bytes: gauge!("socketio_cluster_queued_bytes"),
            disconnections: counter!("socketio_cluster_disconnections_total"),
            dropped: counter!("socketio_cluster_messages_dropped_total"),
            malformed: counter!("socketio_cluster_messages_malformed_total"),
            last: ClusterSample::default(),
        }
    }

    /// Records the changes since the last call. Several servers in one process share the metrics, so their gauges are
    /// sums.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a floating-point number")]
    pub(crate) fn record(&mut self, now: ClusterSample) {
        let last = std::mem::replace(&mut self.last, now);
        let change = |gauge: &Gauge, now: usize, last: usize| {
            if now != last {
                gauge.increment(now as f64 - last as f64);
            }
        };
        change(&self.connected, usize::from(now.is_connected), usize::from(last.is_connected));
        change(&self.servers, now.servers, last.servers);
        change(&self.queued_bytes, now.queued_bytes, last.queued_bytes);
        self.disconnections.increment(now.disconnections.saturating_sub(last.disconnections));
        self.dropped.increment(now.dropped.saturating_sub(last.dropped));
        self.malformed.increment(now.malformed.saturating_sub(last.malformed));
    }
}

impl Drop for ClusterMetrics {
    fn drop(&mut self) {
        let counted = ClusterSample { is_connected: false, servers: 0, queued_bytes: 0, ..self.last };
        self.record(counted);
    }
}

fn describe_cluster() {
    describe_gauge!("socketio_cluster_connected", Unit::Count, "Servers that are connected to the broker.");
    describe_gauge!("socketio_cluster_servers", Unit::Count, "Servers of the cluster that this one knows.");
    describe_gauge!("socketio_cluster_queued_bytes", Unit::Bytes, "Messages in the queue to the broker.");
    describe_counter!(
        "socketio_cluster_disconnections_total",
        Unit::Count,
        "How often the connection to the broker was lost."
    );
    describe_counter!(
        "socketio_cluster_messages_dropped_total",
        Unit::Count,
        "Messages to other servers that were given up."
    );
    describe_counter!(
        "socketio_cluster_messages_malformed_total",
        Unit::Count,
        "Messages of other servers that were ignored."
    );
}

/// The metrics of an event with a handler, or of all events without a handler. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct EventMetrics(Arc<EventRecorders>);

#[derive(Debug)]
struct EventRecorders {
    received: Counter,
    seconds: Histogram,
    refused: Counter,
    failed: Counter,
    panicked: Counter,
}

impl EventMetrics {
    pub(crate) fn new(namespace: &str, event: &str) -> Self {
        let labels = [("namespace", namespace.to_owned()), ("event", event.to_owned())];
        let failures = |kind: &'static str| {
            let [namespace, event] = labels.clone();
            let labels = [namespace, event, ("kind", kind.to_owned())];
            counter!("socketio_handler_failures_total", &labels)
        };
        Self(Arc::new(EventRecorders {
            received: counter!("socketio_events_received_total", &labels),
            seconds: histogram!("socketio_handler_seconds", &labels),
            refused: failures("refused"),
            failed: failures("failed"),
            panicked: failures("panicked"),
        }))
    }

    /// Returns the metrics that `find` looks up. Without the feature, `find` is not called.
    pub(crate) fn found<'a>(find: impl FnOnce() -> &'a Self) -> Self {
        find().clone()
    }

    pub(crate) fn received(&self) {
        self.0.received.increment(1);
    }

    /// Counts an event that was rejected because of the client, for example because its arguments are
    /// invalid.
    pub(crate) fn refused(&self) {
        self.0.refused.increment(1);
    }

    pub(crate) fn failed(&self, error: &EventError) {
        if error.is_panic() {
            self.0.panicked.increment(1);
        } else if error.cause().is_some() {
            self.0.failed.increment(1);
        } else {
            self.refused();
        }
    }

    /// Starts the timer of a handler.
    pub(crate) fn start(&self) -> HandlerTime {
        HandlerTime { metrics: self.clone(), start: Instant::now() }
    }
}

/// The timer of a running handler.
#[derive(Debug)]
pub(crate) struct HandlerTime {
    metrics: EventMetrics,
    start: Instant,
}

impl HandlerTime {
    pub(crate) fn done(self, result: &Result<AckResponse, EventError>) {
        self.metrics.0.seconds.record(self.start.elapsed());
        if let Err(error) = result {
            self.metrics.failed(error);
        }
    }
}
