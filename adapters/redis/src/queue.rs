//! What waits in the queue of messages to Redis.

use std::sync::Arc;

use socketio::cluster::{Message, Reply, RequestId, ServerId};
use socketio_broker::{Payload, message_len};

use crate::{dialect::Publish, nodes::Node};

pub(crate) type Queued = socketio_broker::Queued<Content>;
pub(crate) type Queue = socketio_broker::Queue<Content>;

#[derive(Debug)]
pub(crate) enum Content {
    Message(Arc<Message>),
    /// A request, with the generation of the channels that the responses arrive on.
    Request(Arc<Message>, u64),
    Reply(ServerId, Reply),
    /// A broadcast that this server delivers when it reads it from the stream, with its number.
    Logged(Arc<Message>, u64),
    Command(Publish),
}

impl Payload for Content {
    fn payload_len(&self) -> usize {
        match self {
            Self::Message(message) | Self::Request(message, _) | Self::Logged(message, _) => {
                message_len(message)
            }
            Self::Reply(_, reply) => reply.payload_len(),
            Self::Command(publish) => publish.command.get_packed_command().len(),
        }
    }
}

/// The commands of one element of the queue. All have the same slot.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) publishes: Vec<Publish>,
    /// The node that has asked for the commands, after the owner of the slot has refused them.
    pub(crate) asked: Option<Node>,
    /// A broadcast that is delivered when it is read from the stream.
    pub(crate) logged: Option<Logged>,
}

#[derive(Debug)]
pub(crate) enum Logged {
    /// Not sent yet.
    Queued(Arc<Message>, u64),
    /// Sent, but refused by a node. The log has the message.
    Sent(u64),
}

impl Encoded {
    pub(crate) fn slot(&self) -> Option<u16> {
        self.publishes.first().and_then(|publish| publish.slot)
    }

    /// Returns the id of the request, if this is one.
    pub(crate) fn request(&self) -> Option<&RequestId> {
        self.publishes.iter().find_map(|publish| publish.request.as_ref()).map(|(request, _)| request)
    }
}
