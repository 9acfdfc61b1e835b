//! What a newcomer meets first: handlers and hooks in each form, other frameworks around the server, and what the log
//! says when nothing happens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod extensions;
mod handlers;
mod logs;
mod mounting;
mod names;
mod rooms;
#[allow(dead_code, unused_imports, reason = "another test binary uses the rest")]
#[path = "../it/support/mod.rs"]
mod support;
