//! This folder contains the sessions: admission, the registry, the mailbox behind each
//! [`SessionHandle`](mailbox::SessionHandle), the traits of the application, and the driver, which is the
//! single task of a session.
//!
//! The folders are ordered from high to low: `listen`, `engine`, `forward`, `http`, `session`, `transport`, `config`,
//! `metrics`, `proto`, and last `error` and `shrink`. Each folder imports only lower folders. This folder may
//! import `transport`, `config`, `metrics`, `proto`, `error` and `shrink`, but not `http`, `forward`,
//! `engine` or `listen`. Requests reach a session as commands in the mailbox.

pub(crate) mod admission;
pub(crate) mod application;
pub(crate) mod driver;
pub(crate) mod handshake_request;
pub(crate) mod mailbox;
pub(crate) mod outbound;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod waiters;
