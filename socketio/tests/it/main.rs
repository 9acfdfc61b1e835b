//! The server from outside: through sockets, as clients see it, byte by byte where the bytes matter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod cluster;
mod mistakes;
mod parser;
mod promises;
mod recovery;
mod server;
mod support;
#[cfg(feature = "typescript")]
mod typescript;
mod upgrade;
mod wire;
