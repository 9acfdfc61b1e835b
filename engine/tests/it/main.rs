//! The engine from outside: over sockets, byte by byte where the bytes matter, and over memory on a virtual
//! clock where time matters.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backpressure;
mod closing;
mod errors;
mod heartbeat;
mod lifecycle;
mod polling;
mod polling_limits;
mod polling_misuse;
mod serving;
mod slow_consumer;
mod stress;
mod support;
mod upgrade;
mod waiting;
mod websocket;
mod websocket_misuse;
