//! The dialect of `createShardedAdapter` of `@socket.io/redis-adapter`: `SPUBLISH` and `SSUBSCRIBE`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use socketio::cluster::node::{Decoded, Encoded, Malformed, decode, encode_message, encode_reply};
use socketio::{
    Room,
    cluster::{Inbound, Inbox, Message, Operation, Reply, ServerId},
};
use tokio::time::Instant;

use crate::{
    SubscriptionMode,
    dialect::{Channel, Dialect, Publish, publish, subscribers},
};

/// The length of the id of a socket.
const SOCKET_ID: usize = 20;
/// The time within which the other servers subscribe to the channels of rooms that their sockets have joined.
const SUBSCRIBING: Duration = Duration::from_secs(2);
/// The maximum number of rooms that are remembered for that time.
const MAX_JOINED: usize = 4096;

#[derive(Debug)]
pub(crate) struct ShardedDialect {
    prefix: String,
    mode: SubscriptionMode,
    /// The namespaces and rooms that this server has told sockets of other servers to join, and when.
    joined: Mutex<HashMap<(Arc<str>, Room), Instant>>,
}

impl ShardedDialect {
    pub(crate) fn new(prefix: String, mode: SubscriptionMode) -> Self {
        Self { prefix, mode, joined: Mutex::default() }
    }

    fn remember(&self, namespace: &Arc<str>, rooms: &[Room]) {
        let now = Instant::now();
        let mut joined = self.joined.lock();
        for room in rooms.iter().filter(|room| self.is_dynamic(room)) {
            if joined.len() >= MAX_JOINED {
                joined.retain(|_, since| now.duration_since(*since) < SUBSCRIBING);
            }
            if joined.len() < MAX_JOINED {
                joined.insert((namespace.clone(), room.clone()), now);
            }
        }
    }

    /// Returns `true` if other servers may not be subscribed to the channel of the room yet. They receive the
    /// messages of the main channel in any case.
    fn was_joined_recently(&self, namespace: &Arc<str>, room: &Room) -> bool {
        let mut joined = self.joined.lock();
        if joined.is_empty() {
            return false;
        }
        let key = (namespace.clone(), room.clone());
        let is_recent = joined.get(&key).is_some_and(|since| since.elapsed() < SUBSCRIBING);
        if !is_recent {
            joined.remove(&key);
        }
        is_recent
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

    fn count(&self, namespace: &str) -> redis::Cmd {
        subscribers("SHARDNUMSUB", &self.main_channel(namespace))
    }

    fn encode(&self, message: &Message) -> Vec<Publish> {
        let namespace = &message.namespace;
        let payload =
            encode_message(message).and_then(|encoded| encoded.to_bytes(&message.from, namespace, false));
        let Some(payload) = payload else { return Vec::new() };
        if let Operation::Join { rooms, .. } = &message.operation {
            self.remember(namespace, rooms);
        }
        let channel = match &message.operation {
            Operation::Broadcast { target, .. }
                if let [room] = target.rooms()
                    && self.is_dynamic(room)
                    && !self.was_joined_recently(namespace, room) =>
            {
                self.channel_of(namespace, room)
            }
            _ => self.main_channel(namespace),
        };
        let command = publish("SPUBLISH", &channel, &payload);
        let request = message.operation.request().map(|request| (request.clone(), self.count(namespace)));
        vec![Publish { command, request }]
    }

    fn encode_reply(&self, to: &ServerId, reply: &Reply) -> Vec<Publish> {
        let channel = self.channel_of(&reply.namespace, to.as_str());
        let publish = |encoded: Encoded| {
            let payload = encoded.to_bytes(&reply.from, &reply.namespace, false)?;
            Some(Publish { command: publish("SPUBLISH", &channel, &payload), request: None })
        };
        encode_reply(reply).into_iter().filter_map(publish).collect()
    }

    fn decode(
        &self,
        inbox: &Inbox,
        namespace: &str,
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
