//! What an operator can watch: `docs/observability.md` lists it all.
//!
//! Without the feature `metrics` the same types are there, hold nothing and do nothing, so that nobody else needs to
//! know of the feature.

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
