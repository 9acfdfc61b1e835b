//! Tests of the Admin UI's server side, with clients that speak its protocol.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actions;
mod cluster;
mod development;
mod files;
mod login;
mod production;
mod support;
