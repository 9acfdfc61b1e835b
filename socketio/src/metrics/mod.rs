//! Provides the metrics and log lines for operators, which are listed in `docs/observability.md`.
//!
//! This module may import `event` and `proto`. It must not import `hub` or any layer above `hub`. Without the
//! feature `metrics`, the metrics types are zero-sized and their methods do nothing, so callers do not depend
//! on the feature.

pub(crate) mod log;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{EventMetrics, HandlerTime, NamespaceMetrics};
#[cfg(feature = "metrics")]
pub(crate) use on::{ClusterMetrics, ClusterSample, EventMetrics, HandlerTime, NamespaceMetrics};

/// The label of all events without a handler, and of all unknown namespaces.
pub(crate) const OTHER: &str = "other";
