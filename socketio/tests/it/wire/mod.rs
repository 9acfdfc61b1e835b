//! What stands on the wire, to the byte.

mod answers;
mod arguments;
mod binary;
mod connecting;
mod ending;
mod handshake;
mod leniency;
