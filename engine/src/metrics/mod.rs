//! Metrics, counters of limit hits, and rate limits for the log. See `docs/observability.md` for a list of
//! all metrics.
//!
//! This folder may import `proto`, `error` and `shrink`, but not `config`, `transport`, `session`, `http`,
//! `forward`, `engine` or `listen`. These folders may record metrics.
//!
//! Without the feature `metrics`, the same types are empty and do nothing, so most other modules need no
//! `cfg` for the feature.

pub(crate) mod limits;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;
pub(crate) mod rate_limit;
pub(crate) mod traffic;

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{Metrics, OpenSession};
#[cfg(feature = "metrics")]
pub(crate) use on::{Metrics, OpenSession};
