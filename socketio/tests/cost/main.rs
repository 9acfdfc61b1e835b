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
