//! The messages that a server sends.

use std::sync::Arc;

use socketio::cluster::{
    Message, Reply, RequestId, ServerId,
    node::{Encoded, encode_message, encode_reply},
};

use crate::queue::{Payload, message_len};

/// A message to other servers.
#[derive(Debug)]
pub enum Outgoing {
    /// A message to all other servers.
    Message(Arc<Message>),
    /// A request, with the generation of the channels that the responses arrive on.
    Request(Arc<Message>, u64),
    /// A response to a server.
    Reply(ServerId, Reply),
    /// The state of this server in a namespace.
    Presence(Arc<str>, Presence),
}

/// The state of this server in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The server receives the messages of the namespace from now on. The other servers respond with a
    /// heartbeat.
    Joined,
    /// The server is alive.
    Alive,
    /// The server no longer has the namespace.
    Left,
}

impl Outgoing {
    /// Returns the path of the namespace.
    pub fn namespace(&self) -> &Arc<str> {
        match self {
            Self::Message(message) | Self::Request(message, _) => &message.namespace,
            Self::Reply(_, reply) => &reply.namespace,
            Self::Presence(namespace, _) => namespace,
        }
    }

    /// Returns the id of the request, if this is one.
    pub fn request(&self) -> Option<&RequestId> {
        match self {
            Self::Request(message, _) => message.operation.request(),
            _ => None,
        }
    }

    /// Encodes the message as `ClusterMessage`s of Node.js.
    pub fn encode(&self) -> Vec<Encoded> {
        match self {
            Self::Message(message) | Self::Request(message, _) => {
                encode_message(message).into_iter().collect()
            }
            Self::Reply(_, reply) => encode_reply(reply),
            Self::Presence(_, Presence::Joined) => vec![Encoded::initial_heartbeat()],
            Self::Presence(_, Presence::Alive) => vec![Encoded::heartbeat()],
            Self::Presence(_, Presence::Left) => vec![Encoded::close()],
        }
    }
}

impl Payload for Outgoing {
    fn payload_len(&self) -> usize {
        match self {
            Self::Message(message) | Self::Request(message, _) => message_len(message),
            Self::Reply(_, reply) => reply.payload_len(),
            Self::Presence(..) => 0,
        }
    }
}
