//! TODO.

pub(crate) mod admission;
pub(crate) mod application;
pub(crate) mod driver;
pub(crate) mod handshake_request;
pub(crate) mod mailbox;
pub(crate) mod outbound;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod waiters;
