//! The dialect of `createAdapter` of `@socket.io/redis-adapter`: `PUBLISH` and `PSUBSCRIBE`.

mod payload;
mod request;
mod response;

use std::sync::Arc;

use socketio::cluster::{
    Inbound, Inbox, Message, Operation, Reply, ServerId,
    node::{Malformed, decode_broadcast, encode_broadcast},
};

use self::payload::msgpack;
use crate::dialect::{Channel, Count, Dialect, Publish};

/// The types of requests and responses.
mod kind {
    pub(super) const SOCKETS: u8 = 0;
    pub(super) const ALL_ROOMS: u8 = 1;
    pub(super) const REMOTE_JOIN: u8 = 2;
    pub(super) const REMOTE_LEAVE: u8 = 3;
    pub(super) const REMOTE_DISCONNECT: u8 = 4;
    pub(super) const REMOTE_FETCH: u8 = 5;
    pub(super) const SERVER_SIDE_EMIT: u8 = 6;
    pub(super) const BROADCAST: u8 = 7;
    pub(super) const BROADCAST_CLIENT_COUNT: u8 = 8;
    pub(super) const BROADCAST_ACK: u8 = 9;
}

#[derive(Debug)]
pub(crate) struct ClassicDialect {
    pub(crate) key: String,
    pub(crate) specific_responses: bool,
}

impl ClassicDialect {
    fn request_channel(&self, namespace: &str) -> String {
        format!("{}-request#{namespace}#", self.key)
    }

    fn response_channel(&self, namespace: &str) -> String {
        format!("{}-response#{namespace}#", self.key)
    }

    fn response_channel_of(&self, namespace: &str, id: &ServerId) -> String {
        format!("{}-response#{namespace}#{}#", self.key, id.as_str())
    }
}

impl Dialect for ClassicDialect {
    fn channels(&self, id: &ServerId, namespace: &str) -> Vec<Channel> {
        vec![
            Channel::Pattern(escape(&format!("{}#{namespace}#", self.key)) + "*"),
            Channel::Plain(self.request_channel(namespace)),
            Channel::Plain(self.response_channel(namespace)),
            Channel::Plain(self.response_channel_of(namespace, id)),
        ]
    }

    fn watchdog(&self, id: &ServerId) -> Channel {
        Channel::Plain(format!("{}-watchdog#{}#", self.key, id.as_str()))
    }

    fn count(&self, namespace: &str) -> Count {
        Count::plain(&self.request_channel(namespace))
    }

    fn encode(&self, message: &Message) -> Vec<Publish> {
        let Message { from, namespace, operation } = message;
        if let Operation::Broadcast { target, packet, flags } = operation {
            let channel = match target.rooms() {
                [room] => format!("{}#{namespace}#{room}#", self.key),
                _ => format!("{}#{namespace}#", self.key),
            };
            let payload = encode_broadcast(from, namespace, target, packet, *flags);
            return payload.map(|payload| Publish::plain(&channel, &payload)).into_iter().collect();
        }
        let Some(payload) = request::encode(message) else { return Vec::new() };
        let publish = Publish::plain(&self.request_channel(namespace), &payload);
        vec![publish.requesting(operation.request(), self.count(namespace))]
    }

    fn encode_reply(&self, to: &ServerId, reply: &Reply) -> Vec<Publish> {
        let namespace = &*reply.namespace;
        let channel = if self.specific_responses && !to.is_unknown() {
            self.response_channel_of(namespace, to)
        } else {
            self.response_channel(namespace)
        };
        response::encode(reply).iter().map(|payload| Publish::plain(&channel, payload)).collect()
    }

    fn decode(
        &self,
        inbox: &Inbox,
        namespace: &Arc<str>,
        channel: &[u8],
        payload: &[u8],
    ) -> Result<Option<Inbound>, Malformed> {
        let channel = std::str::from_utf8(channel).map_err(|_| Malformed)?;
        if let Some(room) = room_of(channel, &self.key, namespace) {
            let has_room = |room: &str| inbox.may_have_room(namespace, room);
            if !room.is_empty() && !has_room(room) {
                return Ok(None);
            }
            let broadcast = decode_broadcast(inbox.server_id(), namespace, &msgpack(payload)?, |name| {
                room == name || has_room(name)
            });
            return Ok(broadcast?.map(|message| Inbound::Message(Arc::new(message))));
        }
        if channel == self.request_channel(namespace) {
            return request::decode(inbox.server_id(), namespace, payload);
        }
        response::decode(namespace, payload).map(Some)
    }
}

/// Returns the room in the name of a channel of broadcasts, which is empty if there is none.
fn room_of<'a>(channel: &'a str, key: &str, namespace: &str) -> Option<&'a str> {
    let room = channel.strip_prefix(key)?.strip_prefix('#')?.strip_prefix(namespace)?.strip_prefix('#')?;
    if room.is_empty() { Some(room) } else { room.strip_suffix('#') }
}

fn escape(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    for letter in pattern.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests;
