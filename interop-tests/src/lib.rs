//! Shared code of the tools of this package.

pub mod value;

/// Compiles the code in the guide to clusters, which needs the crates of all brokers.
#[cfg(doctest)]
#[doc = include_str!("../../docs/cluster.md")]
struct Cluster;
