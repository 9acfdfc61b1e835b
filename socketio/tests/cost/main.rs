//! What connections and broadcasts cost: tasks, memory and allocations, counted on the thread of a server whose
//! clients live on another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arguments;
mod broadcast;
mod counting;
mod hostile;
mod idle;
mod lab;
mod pending;
#[allow(dead_code, unused_imports, reason = "the other test binary uses the rest")]
#[path = "../it/support/mod.rs"]
mod support;
