//! Whatever a client sends: a clear error or the end of its session, and nobody else notices.

mod arena;
mod attachments;
mod handshakes;
mod json;
mod logs;
mod long_polling;
mod names;
mod namespaces;
mod packets;
mod sizes;
