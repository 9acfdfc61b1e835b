//! Invalid input results in a clear error or closes the session. Other clients are not affected.

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
