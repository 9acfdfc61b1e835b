//! What an operator can watch: `docs/observability.md` lists it all.
//!
//! Without the feature `metrics` the same types are there, hold nothing and do nothing, so that nobody else needs to
//! know of the feature.

pub(crate) mod log;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{EventMetrics, HandlerTime, NamespaceMetrics};
#[cfg(feature = "metrics")]
pub(crate) use on::{EventMetrics, HandlerTime, NamespaceMetrics};

/// What stands for all events that have no handler of their own, and for all namespaces that there are not.
pub(crate) const OTHER: &str = "other";
