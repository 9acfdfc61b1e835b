//! Origins, hooks, headers and cookies on every transport.

mod cookie;
mod cors;
mod hooks;
mod log;
mod rig;
