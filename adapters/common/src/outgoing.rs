//! The messages that a server sends.

use std::{sync::Arc, time::Duration};

use socketio::cluster::{
    Message, Reply, SavedSession, ServerId,
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
    /// A broadcast that this server delivers when it reads it from the event log, with its number. Only for
    /// brokers with an event log.
    Logged(Arc<Message>, u64),
    /// A session that the broker saves for this time. Only for brokers with an event log.
    SaveSession(Arc<str>, Box<SavedSession>, Duration),
    /// The id of a saved session that the broker removes. Only for brokers with an event log.
    RemoveSession(Arc<str>, Box<str>),
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
            Self::Message(message) | Self::Request(message, _) | Self::Logged(message, _) => {
                &message.namespace
            }
            Self::Reply(_, reply) => &reply.namespace,
            Self::Presence(namespace, _)
            | Self::SaveSession(namespace, ..)
            | Self::RemoveSession(namespace, _) => namespace,
        }
    }

    /// Encodes the message as `ClusterMessage`s of Node.js. A session is none.
    pub fn encode(&self) -> Vec<Encoded> {
        match self {
            Self::Message(message) | Self::Request(message, _) | Self::Logged(message, _) => {
                encode_message(message).into_iter().collect()
            }
            Self::Reply(_, reply) => encode_reply(reply),
            Self::Presence(_, Presence::Joined) => vec![Encoded::initial_heartbeat()],
            Self::Presence(_, Presence::Alive) => vec![Encoded::heartbeat()],
            Self::Presence(_, Presence::Left) => vec![Encoded::close()],
            Self::SaveSession(..) | Self::RemoveSession(..) => Vec::new(),
        }
    }
}

impl Payload for Outgoing {
    fn payload_len(&self) -> usize {
        match self {
            Self::Message(message) | Self::Request(message, _) | Self::Logged(message, _) => {
                message_len(message)
            }
            Self::Reply(_, reply) => reply.payload_len(),
            Self::Presence(..) | Self::RemoveSession(..) => 0,
            Self::SaveSession(_, session, _) => {
                let SavedSession { rooms, data, .. } = &**session;
                data.len() + rooms.iter().map(|room| room.len()).sum::<usize>()
            }
        }
    }
}
