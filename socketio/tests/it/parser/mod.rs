//! Packets in another encoding than that of the protocol.

#[cfg(feature = "msgpack")]
mod cluster;
mod custom;
#[cfg(feature = "msgpack")]
mod msgpack;
mod panics;
