//! Tests of the server through sockets, as clients see it. Where the bytes matter, they are compared exactly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod advisories;
#[cfg(feature = "testing")]
mod api;
mod bad_input;
mod cluster;
mod guide;
mod layers;
#[cfg(all(feature = "metrics", feature = "testing"))]
mod metrics;
mod mistakes;
mod parser;
mod promises;
mod recovery;
mod server;
mod simulation;
mod support;
#[cfg(feature = "testing")]
mod testing;
#[cfg(feature = "typescript")]
mod typescript;
mod upgrade;
mod wire;
