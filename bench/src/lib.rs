//! Types shared by the load generator, the servers and the runner.

pub mod frame;
pub mod job;
