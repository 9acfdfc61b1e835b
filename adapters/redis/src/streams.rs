//! The dialect of `@socket.io/redis-streams-adapter`: broadcasts are entries of a stream, and requests are
//! published.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisResult, Value,
    aio::MultiplexedConnection,
    streams::{StreamRangeReply, StreamReadReply},
};
use socketio::cluster::{
    Inbound, Inbox, Message, Operation, Reply, ServerId,
    node::{Encoded, Malformed, decode, decode_fields, encode_message, encode_reply},
};
use tokio::time::timeout;

use crate::{
    backoff::Backoff,
    dialect::{Channel, Dialect, Publish, publish, subscribers},
    queue::Shared,
    sharded::{inbound, request_of},
    writer::RESPONSE_TIMEOUT,
};

#[derive(Debug)]
pub(crate) struct StreamsDialect {
    pub(crate) stream: String,
    pub(crate) max_len: usize,
    pub(crate) prefix: String,
}

impl StreamsDialect {
    fn main_channel(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    fn channel_of(&self, namespace: &str, id: &ServerId) -> String {
        format!("{}#{namespace}#{}#", self.prefix, id.as_str())
    }

    /// Returns the command that appends a message to the stream.
    fn append(&self, message: &Message, encoded: &Encoded) -> Option<redis::Cmd> {
        let mut cmd = redis::cmd("XADD");
        cmd.arg(&self.stream).arg("MAXLEN").arg("~").arg(self.max_len).arg("*");
        cmd.arg("uid").arg(message.from.as_str()).arg("nsp").arg(&*message.namespace);
        cmd.arg("type").arg(encoded.kind).arg("data");
        if encoded.attachments.is_empty() {
            cmd.arg(&encoded.data);
        } else {
            cmd.arg(BASE64_STANDARD.encode(encoded.data_to_msgpack()?));
        }
        Some(cmd)
    }
}

/// Returns `true` for the messages that Node.js appends to the stream.
fn is_durable(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Broadcast { .. }
            | Operation::Join { .. }
            | Operation::Leave { .. }
            | Operation::Disconnect { .. }
    )
}

impl Dialect for StreamsDialect {
    fn channels(&self, id: &ServerId, namespace: &str) -> Vec<Channel> {
        vec![Channel::Plain(self.main_channel(namespace)), Channel::Plain(self.channel_of(namespace, id))]
    }

    fn watchdog(&self, id: &ServerId) -> Channel {
        Channel::Plain(format!("{}-watchdog#{}#", self.prefix, id.as_str()))
    }

    fn count(&self, namespace: &str) -> redis::Cmd {
        subscribers("NUMSUB", &self.main_channel(namespace))
    }

    fn encode(&self, message: &Message) -> Vec<Publish> {
        let Some(encoded) = encode_message(message) else { return Vec::new() };
        if is_durable(&message.operation) {
            let command = self.append(message, &encoded);
            return command.into_iter().map(|command| Publish { command, request: None }).collect();
        }
        let namespace = &message.namespace;
        let Some(payload) = encoded.to_bytes(&message.from, namespace, true) else { return Vec::new() };
        let command = publish("PUBLISH", &self.main_channel(namespace), &payload);
        let request = request_of(&message.operation).map(|request| (request, self.count(namespace)));
        vec![Publish { command, request }]
    }

    fn encode_reply(&self, to: &ServerId, reply: &Reply) -> Vec<Publish> {
        let channel = self.channel_of(&reply.namespace, to);
        let publish = |encoded: Encoded| {
            let payload = encoded.to_bytes(&reply.from, &reply.namespace, true)?;
            Some(Publish { command: publish("PUBLISH", &channel, &payload), request: None })
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

/// The task that reads the stream.
pub(crate) struct Reader {
    pub(crate) client: Client,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) stream: String,
    pub(crate) read_count: usize,
    pub(crate) block: Duration,
}

impl Reader {
    /// Runs until the server leaves the cluster.
    pub(crate) async fn run(self) {
        let shared = self.shared.clone();
        tokio::select! {
            () = self.read_all() => {}
            () = shared.leaving() => {}
        }
    }

    async fn read_all(&self) {
        let mut backoff = Backoff::default();
        // The id of the last entry that was read. Kept when the connection is lost, so entries that were added
        // meanwhile are read.
        let mut last = None;
        loop {
            if let Some(mut connection) = self.connect().await
                && let Err(error) = self.read(&mut connection, &mut last, &mut backoff).await
            {
                self.shared.is_reading.send_replace(false);
                if error.kind() == ErrorKind::Io {
                    tracing::debug!(%error, "the connection to Redis is lost");
                } else {
                    tracing::error!(stream = self.stream, %error, "the stream of the cluster cannot be read");
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn connect(&self) -> Option<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            // A read blocks until an entry is added.
            .set_response_timeout(Some(self.block + RESPONSE_TIMEOUT));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        timeout(RESPONSE_TIMEOUT, connecting).await.ok()?.ok()
    }

    /// Reads until an error occurs.
    async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        last: &mut Option<String>,
        backoff: &mut Backoff,
    ) -> RedisResult<()> {
        let mut from = match last.take() {
            Some(from) => from,
            None => self.end_of_stream(connection).await?,
        };
        let result = loop {
            if !*self.shared.is_reading.borrow() {
                self.shared.is_reading.send_replace(true);
            }
            match self.read_entries(connection, &from).await {
                Ok(entries) => {
                    *backoff = Backoff::default();
                    for (id, inbound) in entries {
                        from = id;
                        if let Some(inbound) = inbound {
                            self.inbox.send(inbound).await;
                        }
                    }
                }
                Err(error) => break Err(error),
            }
        };
        *last = Some(from);
        result
    }

    /// Returns the id of the last entry. Reading after this id misses no entry that is added later.
    async fn end_of_stream(&self, connection: &mut MultiplexedConnection) -> RedisResult<String> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.stream).arg("+").arg("-").arg("COUNT").arg(1);
        let entries: StreamRangeReply = command.query_async(connection).await?;
        Ok(entries.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id))
    }

    async fn read_entries(
        &self,
        connection: &mut MultiplexedConnection,
        from: &str,
    ) -> RedisResult<Vec<(String, Option<Inbound>)>> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(self.read_count).arg("BLOCK").arg(self.block.as_millis() as u64);
        command.arg("STREAMS").arg(&self.stream).arg(from);
        let reply: Option<StreamReadReply> = command.query_async(connection).await?;
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        Ok(entries.map(|entry| (entry.id, self.decode(&entry.map))).collect())
    }

    fn decode(&self, fields: &std::collections::HashMap<String, Value>) -> Option<Inbound> {
        let field = |name: &str| match fields.get(name) {
            Some(Value::BulkString(bytes)) => Ok(&bytes[..]),
            _ => Err(Malformed),
        };
        let text = |name: &str| std::str::from_utf8(field(name)?).map_err(|_| Malformed);
        let decoded = || {
            let (uid, namespace) = (text("uid")?, text("nsp")?);
            if uid == self.inbox.server_id().as_str() {
                return Ok(None);
            }
            let kind = text("type")?.parse().map_err(|_| Malformed)?;
            let data = field("data")?;
            let decoded = if data.first() == Some(&b'{') {
                decode_fields(uid, namespace, kind, data)?
            } else {
                let data = BASE64_STANDARD.decode(data).map_err(|_| Malformed)?;
                decode_fields(uid, namespace, kind, &data)?
            };
            Ok(inbound(&self.inbox, namespace, decoded))
        };
        decoded().unwrap_or_else(|Malformed| {
            self.shared.count_malformed("");
            None
        })
    }
}
