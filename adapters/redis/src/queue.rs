//! What waits in the queue of messages to Redis.

use std::sync::Arc;

use socketio::cluster::{Message, Reply, ServerId};
use socketio_broker::{Payload, message_len};

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
    Command(redis::Cmd),
}

impl Payload for Content {
    fn payload_len(&self) -> usize {
        match self {
            Self::Message(message) | Self::Request(message, _) | Self::Logged(message, _) => {
                message_len(message)
            }
            Self::Reply(_, reply) => reply.payload_len(),
            Self::Command(command) => command.get_packed_command().len(),
        }
    }
}
