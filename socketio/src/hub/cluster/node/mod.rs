//! The messages of the adapters of Node.js, so that servers of both kinds can form one cluster.

mod broadcast;
mod decode;
mod encode;
mod summary;

pub use broadcast::{decode_broadcast, encode_broadcast};
pub use decode::{Decoded, Malformed, Object, Options, decode, decode_fields, decode_in, event};
pub use encode::{Encoded, encode_message, encode_reply, options_json};

pub use summary::{from_json as summary_from_json, to_json as summary_to_json};

pub use crate::proto::msgpack::{from_json as msgpack_from_json, to_json as msgpack_to_json};

/// The types of a `ClusterMessage`.
mod kind {
    pub(super) const INITIAL_HEARTBEAT: u8 = 1;
    pub(super) const HEARTBEAT: u8 = 2;
    pub(super) const BROADCAST: u8 = 3;
    pub(super) const SOCKETS_JOIN: u8 = 4;
    pub(super) const SOCKETS_LEAVE: u8 = 5;
    pub(super) const DISCONNECT_SOCKETS: u8 = 6;
    pub(super) const FETCH_SOCKETS: u8 = 7;
    pub(super) const FETCH_SOCKETS_RESPONSE: u8 = 8;
    pub(super) const SERVER_SIDE_EMIT: u8 = 9;
    pub(super) const SERVER_SIDE_EMIT_RESPONSE: u8 = 10;
    pub(super) const BROADCAST_CLIENT_COUNT: u8 = 11;
    pub(super) const BROADCAST_ACK: u8 = 12;
    pub(super) const ADAPTER_CLOSE: u8 = 13;
}

#[cfg(test)]
mod tests;
