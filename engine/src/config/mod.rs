//! The options of the engine and of the accept loop: structs with defaults, setters and checks, under the
//! names of the Node.js server. The folder contains data and pure decisions on the data, such as the
//! comparison of origins and the policy for full queues. It does no I/O and does not depend on sessions. It
//! may import `metrics`, `proto`, `error` and `shrink`, but not `transport`, `session`, `http`, `forward`,
//! `engine` or `listen`, which read the options.

#[cfg(feature = "compression")]
pub(crate) mod compression;
pub(crate) mod cookie;
pub(crate) mod cors;
pub(crate) mod descriptors;
pub(crate) mod engine;
#[cfg(feature = "forwarding")]
pub(crate) mod forwarding;
pub(crate) mod hooks;
pub(crate) mod listen;
pub(crate) mod overflow;
pub(crate) mod web_origin;
