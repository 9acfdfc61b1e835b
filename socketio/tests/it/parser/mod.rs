//! Tests of packet encodings other than the default one.

#[cfg(feature = "msgpack")]
mod cluster;
mod custom;
#[cfg(feature = "msgpack")]
mod msgpack;
mod panics;
