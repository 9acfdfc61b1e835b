//! The task that reads the stream.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisResult, Value,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use socketio::cluster::{Inbound, Inbox, LogOffset, node::Malformed};
use socketio_broker::{Backoff, Shared};

use super::{
    Entry,
    log::{Log, is_logged},
};
use crate::{
    connect::{RESPONSE_TIMEOUT, connect},
    sharded::inbound,
};

/// The task that reads the stream.
pub(crate) struct Reader {
    pub(crate) client: Client,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) stream: String,
    pub(crate) read_count: usize,
    pub(crate) block: Duration,
    /// `Some` if clients can be recovered.
    pub(crate) log: Option<Arc<Log>>,
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
                self.shared.set_reading(false);
                if error.kind() == ErrorKind::Io {
                    tracing::debug!(%error, "the connection to Redis is lost");
                } else {
                    tracing::error!(stream = self.stream, %error, "the stream of the cluster cannot be read");
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn connect(&self) -> Option<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            // A read blocks until an entry is added.
            .set_response_timeout(Some(self.block + RESPONSE_TIMEOUT));
        connect(&self.client, &self.shared, config).await
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
            self.shared.set_reading(true);
            match self.read_entries(connection, &from).await {
                Ok(entries) => {
                    *backoff = Backoff::default();
                    for (id, inbound) in entries {
                        if let Some(inbound) = inbound {
                            self.inbox.send(inbound).await;
                        }
                        from = id;
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
        let decode = |id: &str, fields: &HashMap<String, Value>| {
            self.decode(id, fields).unwrap_or_else(|Malformed| {
                self.shared.count_malformed(&self.stream);
                None
            })
        };
        Ok(entries
            .map(|StreamId { id, map, .. }| {
                let inbound = decode(&id, &map);
                (id, inbound)
            })
            .collect())
    }

    /// Returns the input for the server. `None` for messages of the server itself, unless they were appended
    /// to be delivered.
    fn decode(&self, id: &str, fields: &HashMap<String, Value>) -> Result<Option<Inbound>, Malformed> {
        let entry = Entry::new(fields)?;
        let offset = || id.parse::<LogOffset>().map_err(|_| Malformed);
        if entry.uid == self.inbox.server_id().as_str() {
            let message = self.log.as_ref().zip(entry.number).and_then(|(log, number)| log.take(number));
            return message.map(|message| Ok(Inbound::Logged(message, Some(offset()?)))).transpose();
        }
        Ok(match inbound(&self.inbox, entry.namespace, entry.decode()?) {
            Some(Inbound::Message(message)) if self.log.is_some() && is_logged(&message.operation) => {
                Some(Inbound::Logged(message, Some(offset()?)))
            }
            other => other,
        })
    }
}
