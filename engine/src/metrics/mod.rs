//! Metrics, counters of limit hits, and rate limits for the log. `docs/observability.md` lists all of them.
//! This folder may import `proto`, `error` and `shrink`, but not `config`, `transport`, `session`, `http`,
//! `engine` or `listen`, all of which may record metrics.
//!
//! Without the feature `metrics`, the same types are empty and do nothing, so no other module depends on the
//! feature.

pub(crate) mod limits;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;
pub(crate) mod rate_limit;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{Metrics, OpenSession};
#[cfg(feature = "metrics")]
pub(crate) use on::{Metrics, OpenSession};
