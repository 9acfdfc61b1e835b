//! Black-box tests of the engine. Tests that depend on exact bytes use sockets, tests that depend on time use
//! in-memory connections and a virtual clock.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod backpressure;
mod closing;
#[cfg(target_os = "linux")]
mod descriptors;
mod errors;
mod floods;
mod flow_control;
#[cfg(feature = "forwarding")]
mod forwarding;
#[cfg(feature = "forwarding")]
mod forwarding_limits;
mod half_close;
mod heartbeat;
mod http1;
mod http2;
mod http_hooks;
mod http_rules;
mod layers;
mod lifecycle;
mod listeners;
mod listening;
#[cfg(feature = "metrics")]
mod metrics;
mod pace;
mod pending;
mod per_address;
mod pipelining;
mod polling;
mod polling_limits;
mod polling_misuse;
mod serving;
mod shortcut;
mod shutdown;
mod slow_consumer;
mod stress;
mod support;
#[cfg(target_os = "linux")]
mod system_buffers;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;
mod waiting;
mod websocket;
mod websocket_conformance;
mod websocket_misuse;
