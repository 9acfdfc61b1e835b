//! What a newcomer meets first: handlers and hooks in each form, other frameworks around the server, and what the log
//! says when nothing happens.

mod extensions;
mod handlers;
mod logs;
mod mounting;
mod names;
mod rooms;
