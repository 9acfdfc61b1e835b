//! The parts of the API that new users see first: handlers and hooks, other frameworks around the server, and
//! the log lines that explain why nothing happens.

mod extensions;
mod handlers;
mod logs;
#[cfg(feature = "rate-limit")]
mod middleware;
mod mounting;
mod names;
mod rooms;
mod symptoms;
