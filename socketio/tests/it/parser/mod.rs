//! Packets in another encoding than that of the protocol.

mod custom;
#[cfg(feature = "msgpack")]
mod msgpack;
