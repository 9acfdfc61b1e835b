//! Costs of connections and broadcasts: tasks, memory and allocations. They are counted on the thread of the
//! server, and the clients run on another thread.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arguments;
mod broadcast;
mod counting;
mod hostile;
mod idle;
mod lab;
mod pending;
