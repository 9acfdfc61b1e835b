//! Sessions: admission and registry, the mailbox behind each [`SessionHandle`](mailbox::SessionHandle), the
//! traits of the application, and the driver, which is the one task of a session. The order of the folders is
//! `listen` > `engine` > `http` > `session` > `transport` > `config` > `metrics` > `proto` > `error`,
//! `shrink`, and each imports only lower ones. This folder may import `transport`, `config`, `metrics`,
//! `proto`, `error` and `shrink`, but not `http`, `engine` or `listen`: a request reaches a session as a
//! command in its mailbox.

pub(crate) mod admission;
pub(crate) mod application;
pub(crate) mod driver;
pub(crate) mod handshake_request;
pub(crate) mod mailbox;
pub(crate) mod outbound;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod waiters;
