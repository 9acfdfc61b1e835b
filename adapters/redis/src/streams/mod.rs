//! The dialect of `@socket.io/redis-streams-adapter`: broadcasts are entries of a stream, and requests are
//! published.

mod names;
mod reader;
mod store;

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use redis::Value;
use socketio::cluster::{
    Inbound, Inbox, Message, Reply, ServerId,
    node::{Decoded, Encoded, Malformed, decode, decode_fields, encode_message, encode_reply},
};
use socketio_broker::is_durable;

use crate::{
    dialect::{Channel, Count, Dialect, Publish},
    sharded::inbound,
};
pub(crate) use names::StreamNames;
pub(crate) use reader::{Reading, start};
pub(crate) use store::Store;

/// The field of an entry that identifies a message of this server.
const NUMBER: &str = "number";

#[derive(Debug)]
pub(crate) struct StreamsDialect {
    pub(crate) streams: StreamNames,
    pub(crate) max_len: usize,
    pub(crate) prefix: String,
    /// `true` if requests are sent by `SPUBLISH`.
    pub(crate) is_sharded: bool,
}

impl StreamsDialect {
    fn main_channel(&self, namespace: &str) -> Channel {
        self.channel(format!("{}#{namespace}#", self.prefix))
    }

    fn channel_of(&self, namespace: &str, id: &ServerId) -> Channel {
        self.channel(format!("{}#{namespace}#{}#", self.prefix, id.as_str()))
    }

    fn channel(&self, name: String) -> Channel {
        if self.is_sharded { Channel::Shard(name) } else { Channel::Plain(name) }
    }

    /// Returns the command that appends a message to the stream. `number` identifies the message when this
    /// server reads it; Node.js ignores it.
    fn append(&self, message: &Message, encoded: &Encoded, number: Option<u64>) -> Option<Publish> {
        let stream = self.streams.of(&message.namespace);
        let mut cmd = redis::cmd("XADD");
        cmd.arg(&stream).arg("MAXLEN").arg("~").arg(self.max_len).arg("*");
        cmd.arg("uid").arg(message.from.as_str()).arg("nsp").arg(&*message.namespace);
        cmd.arg("type").arg(encoded.kind).arg("data");
        if encoded.attachments.is_empty() {
            cmd.arg(&encoded.data);
        } else {
            cmd.arg(BASE64_STANDARD.encode(encoded.data_to_msgpack()?));
        }
        if let Some(number) = number {
            cmd.arg(NUMBER).arg(number);
        }
        Some(Publish::keyed(&stream, cmd))
    }
}

impl Dialect for StreamsDialect {
    fn channels(&self, id: &ServerId, namespace: &str) -> Vec<Channel> {
        vec![self.main_channel(namespace), self.channel_of(namespace, id)]
    }

    fn watchdog(&self, id: &ServerId) -> Channel {
        self.channel(format!("{}-watchdog#{}#", self.prefix, id.as_str()))
    }

    fn count(&self, namespace: &str) -> Count {
        self.main_channel(namespace).count()
    }

    fn encode(&self, message: &Message) -> Vec<Publish> {
        let Some(encoded) = encode_message(message) else { return Vec::new() };
        if is_durable(&message.operation) {
            return self.append(message, &encoded, None).into_iter().collect();
        }
        let namespace = &message.namespace;
        let Some(payload) = encoded.to_msgpack(&message.from, namespace) else { return Vec::new() };
        let publish = self.main_channel(namespace).publish(&payload);
        vec![publish.requesting(message.operation.request(), self.count(namespace))]
    }

    fn encode_logged(&self, message: &Message, number: u64) -> Option<Publish> {
        self.append(message, &encode_message(message)?, Some(number))
    }

    fn encode_reply(&self, to: &ServerId, reply: &Reply) -> Vec<Publish> {
        let channel = self.channel_of(&reply.namespace, to);
        let publish = |encoded: Encoded| {
            let payload = encoded.to_msgpack(&reply.from, &reply.namespace)?;
            Some(channel.publish(&payload))
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

/// The fields of an entry of the stream.
struct Entry<'a> {
    uid: &'a str,
    number: Option<u64>,
    namespace: &'a str,
    kind: u8,
    data: &'a [u8],
}

impl<'a> Entry<'a> {
    fn new(fields: &'a HashMap<String, Value>) -> Result<Self, Malformed> {
        let field = |name: &str| match fields.get(name) {
            Some(Value::BulkString(bytes)) => Ok(&bytes[..]),
            _ => Err(Malformed),
        };
        let text = |name: &str| std::str::from_utf8(field(name)?).map_err(|_| Malformed);
        Ok(Self {
            uid: text("uid")?,
            number: text(NUMBER).ok().and_then(|number| number.parse().ok()),
            namespace: text("nsp")?,
            kind: text("type")?.parse().map_err(|_| Malformed)?,
            data: field("data")?,
        })
    }

    fn decode(&self) -> Result<Decoded, Malformed> {
        if self.data.first() == Some(&b'{') {
            return decode_fields(self.uid, self.namespace, self.kind, self.data);
        }
        let data = BASE64_STANDARD.decode(self.data).map_err(|_| Malformed)?;
        decode_fields(self.uid, self.namespace, self.kind, &data)
    }
}
