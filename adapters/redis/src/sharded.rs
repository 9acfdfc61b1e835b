//! The dialect of `createShardedAdapter` of `@socket.io/redis-adapter`: `SPUBLISH` and `SSUBSCRIBE`.

use std::sync::Arc;

use socketio::cluster::node::{Decoded, Encoded, Malformed, decode, encode_message, encode_reply};
use socketio::cluster::{Inbound, Inbox, Message, Operation, Reply, ServerId};
use socketio_broker::RecentJoins;

use crate::{
    SubscriptionMode,
    dialect::{Channel, Count, Dialect, Publish},
};

/// The length of the id of a socket.
const SOCKET_ID: usize = 20;
#[derive(Debug)]
pub(crate) struct ShardedDialect {
    prefix: String,
    mode: SubscriptionMode,
    joined: RecentJoins,
}

impl ShardedDialect {
    pub(crate) fn new(prefix: String, mode: SubscriptionMode) -> Self {
        Self { prefix, mode, joined: RecentJoins::default() }
    }

    fn main_channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    fn channel_of(&self, namespace: &str, name: &str) -> String {
        format!("{}#{namespace}#{name}#", self.prefix)
    }

    /// Returns `true` if broadcasts to the room alone have a channel of their own.
    fn is_dynamic(&self, room: &str) -> bool {
        match self.mode {
            SubscriptionMode::Static => false,
            // Sockets are in the room of their id, and few broadcasts have one socket as their target. Node.js
            // counts UTF-16 code units.
            SubscriptionMode::Dynamic => room.encode_utf16().count() != SOCKET_ID,
            SubscriptionMode::DynamicPrivate => true,
        }
    }
}

impl Dialect for ShardedDialect {
    fn channels(&self, id: &ServerId, namespace: &str) -> Vec<Channel> {
        vec![
            Channel::Shard(self.main_channel(namespace)),
            Channel::Shard(self.channel_of(namespace, id.as_str())),
        ]
    }

    fn room_channel(&self, namespace: &str, room: &str) -> Option<Channel> {
        self.is_dynamic(room).then(|| Channel::Shard(self.channel_of(namespace, room)))
    }

    fn has_room_channels(&self) -> bool {
        self.mode != SubscriptionMode::Static
    }

    fn watchdog(&self, id: &ServerId) -> Channel {
        Channel::Shard(format!("{}-watchdog#{}#", self.prefix, id.as_str()))
    }

    fn count(&self, namespace: &str) -> Count {
        Count::sharded(&self.main_channel(namespace))
    }

    fn encode(&self, message: &Message) -> Vec<Publish> {
        let namespace = &message.namespace;
        let payload = encode_message(message).and_then(|encoded| encoded.to_bytes(&message.from, namespace));
        let Some(payload) = payload else { return Vec::new() };
        if let Operation::Join { rooms, .. } = &message.operation {
            self.joined.remember(namespace, rooms.iter().filter(|room| self.is_dynamic(room)));
        }
        let channel = match &message.operation {
            Operation::Broadcast { target, .. }
                if let [room] = target.rooms()
                    && self.is_dynamic(room)
                    && !self.joined.contains(namespace, room) =>
            {
                self.channel_of(namespace, room)
            }
            _ => self.main_channel(namespace),
        };
        let publish = Publish::sharded(&channel, &payload);
        vec![publish.requesting(message.operation.request(), self.count(namespace))]
    }

    fn encode_reply(&self, to: &ServerId, reply: &Reply) -> Vec<Publish> {
        let channel = self.channel_of(&reply.namespace, to.as_str());
        let publish = |encoded: Encoded| {
            let payload = encoded.to_bytes(&reply.from, &reply.namespace)?;
            Some(Publish::sharded(&channel, &payload))
        };
        encode_reply(reply).into_iter().filter_map(publish).collect()
    }

    fn decode(
        &self,
        inbox: &Inbox,
        namespace: &Arc<str>,
        _: &[u8],
        payload: &[u8],
    ) -> Result<Option<Inbound>, Malformed> {
        Ok(inbound(inbox, namespace, decode(payload)?))
    }
}

/// Passes on a message of another server in this namespace.
pub(crate) fn inbound(inbox: &Inbox, namespace: &str, decoded: Decoded) -> Option<Inbound> {
    match decoded {
        Decoded::Message(message)
            if message.from != *inbox.server_id() && *message.namespace == *namespace =>
        {
            Some(Inbound::Message(Arc::new(message)))
        }
        Decoded::Reply(reply) if reply.from != *inbox.server_id() && *reply.namespace == *namespace => {
            Some(Inbound::Reply(reply))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
