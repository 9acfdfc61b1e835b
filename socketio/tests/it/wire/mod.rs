//! Tests of the exact bytes on the wire.

mod answers;
mod arguments;
mod binary;
mod connecting;
mod ending;
mod handshake;
mod leniency;
