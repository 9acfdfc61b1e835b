//! What the load generator, the servers and the runner share.

pub mod frame;
pub mod job;
