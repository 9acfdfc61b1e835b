//! The tasks that read the streams.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Cmd, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use socketio::cluster::{Inbound, Inbox, LogOffset, node::Malformed};
use socketio_broker::{Backoff, Log, Shared, is_logged};

use super::{Entry, StreamNames};
use crate::{
    nodes::{Failure, Node, Nodes, RESPONSE_TIMEOUT, execute, slot_of},
    sharded::inbound,
};

/// What the tasks that read have in common.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) count: usize,
    pub(crate) block: Duration,
    /// `Some` if clients can be recovered.
    pub(crate) log: Option<Arc<Log>>,
}

/// The task that reads the streams of one node.
struct Reader {
    reading: Reading,
    /// The streams. All of them have the same node.
    streams: Vec<Stream>,
    /// The node that has asked for the commands of this stream, because it is being moved there.
    asked: Option<Node>,
    is_reading: bool,
    /// The number of tasks that do not read.
    waiting: Arc<Mutex<usize>>,
}

struct Stream {
    key: String,
    /// The id of the last entry that was read. Kept when the connection is lost, so entries that were added
    /// meanwhile are read.
    last: Option<String>,
    /// `true` if the entries are delivered in one order by all servers.
    is_ordered: bool,
}

/// Starts the tasks. In a cluster there is one for each stream, because each may have another node.
pub(crate) fn start(reading: &Reading, names: &StreamNames) {
    let of_servers = names.all().into_iter().map(|key| Stream { key, last: None, is_ordered: true });
    let of_node = names.of_node_alone().into_iter().map(|key| Stream { key, last: None, is_ordered: false });
    let streams: Vec<Stream> = of_servers.chain(of_node).collect();
    let groups: Vec<Vec<Stream>> = if reading.nodes.is_cluster() {
        streams.into_iter().map(|stream| vec![stream]).collect()
    } else {
        vec![streams]
    };
    let waiting = Arc::new(Mutex::new(groups.len()));
    reading.shared.set_reading(false);
    for streams in groups {
        let (reading, waiting) = (reading.clone(), waiting.clone());
        tokio::spawn(Reader { reading, streams, asked: None, is_reading: false, waiting }.run());
    }
}

impl Reader {
    /// Runs until the server leaves the cluster.
    async fn run(mut self) {
        let shared = self.reading.shared.clone();
        tokio::select! {
            () = self.read_all() => {}
            () = shared.leaving() => {}
        }
    }

    fn set_reading(&mut self, is_reading: bool) {
        if std::mem::replace(&mut self.is_reading, is_reading) != is_reading {
            let mut waiting = self.waiting.lock();
            *waiting = if is_reading { *waiting - 1 } else { *waiting + 1 };
            self.reading.shared.set_reading(*waiting == 0);
        }
    }

    fn slot(&self) -> Option<u16> {
        self.streams.first().map(|stream| slot_of(stream.key.as_bytes()))
    }

    async fn read_all(&mut self) {
        let mut backoff = Backoff::default();
        loop {
            let asked = self.asked.take();
            let is_asking = asked.is_some();
            if let Some(node) = asked.or_else(|| self.reading.nodes.node(self.slot()))
                && let Some(connection) = self.connect(&node).await
                && let Err(error) = self.read(&node, connection, is_asking, &mut backoff).await
            {
                self.handle(&node, &error);
            }
            self.set_reading(false);
            let node = self.reading.nodes.node(self.slot());
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = moved(&self.reading.nodes, self.slot(), node.as_ref()) => {}
            }
        }
    }

    async fn connect(&self, node: &Node) -> Option<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            // A read blocks until an entry is added.
            .set_response_timeout(Some(self.reading.block + RESPONSE_TIMEOUT));
        self.reading.nodes.connect(node, config).await
    }

    fn handle(&mut self, node: &Node, error: &RedisError) {
        match self.reading.nodes.failed(node, self.slot(), error) {
            Failure::Ask(node) => self.asked = Some(node),
            Failure::Refused | Failure::Moved(_) => tracing::debug!(%error, "a stream is being moved"),
            Failure::Final => {
                let stream = self.streams.first().map(|stream| &*stream.key);
                tracing::error!(stream, %error, "the stream of the cluster cannot be read");
            }
            Failure::Unknown => tracing::debug!(%error, "the connection to Redis is lost"),
        }
    }

    /// Reads until an error occurs, or until the streams belong to another node.
    async fn read(
        &mut self,
        node: &Node,
        mut connection: MultiplexedConnection,
        is_asking: bool,
        backoff: &mut Backoff,
    ) -> RedisResult<()> {
        self.find_start(&mut connection, is_asking).await?;
        let (nodes, slot) = (self.reading.nodes.clone(), self.slot());
        loop {
            self.set_reading(true);
            let command = self.command();
            let reply = tokio::select! {
                reply = execute(&mut connection, &command, is_asking) => reply?,
                () = moved(&nodes, slot, Some(node)), if !is_asking => return Ok(()),
            };
            let reply: Option<StreamReadReply> = redis::from_redis_value(reply)?;
            *backoff = Backoff::default();
            for key in reply.into_iter().flat_map(|reply| reply.keys) {
                let Some(at) = self.streams.iter().position(|stream| stream.key == key.key) else { continue };
                for StreamId { id, map, .. } in key.ids {
                    match self.decode(&self.streams[at], &id, &map) {
                        Ok(Some(inbound)) => drop(self.reading.inbox.send(inbound).await),
                        Ok(None) => {}
                        Err(Malformed) => self.reading.shared.count_malformed(&key.key),
                    }
                    self.streams[at].last = Some(id);
                }
            }
        }
    }

    /// Finds the entries after which the streams are read. Reading after the last entry misses none that is added
    /// later.
    async fn find_start(
        &mut self,
        connection: &mut MultiplexedConnection,
        is_asking: bool,
    ) -> RedisResult<()> {
        for stream in &mut self.streams {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(&stream.key).arg("+").arg("-").arg("COUNT").arg(1);
            let entries: StreamRangeReply =
                redis::from_redis_value(execute(connection, &command, is_asking).await?)?;
            let end = entries.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id);
            let offset = |id: &str| id.parse::<LogOffset>().ok();
            match &stream.last {
                // A new master may not have the last entries that were read. Their ids may be used again.
                Some(last) if offset(&end) < offset(last) => {
                    tracing::warn!(stream = stream.key, last, end, "the last entries of a stream are gone");
                    stream.last = Some(end);
                }
                Some(_) => {}
                None => stream.last = Some(end),
            }
        }
        Ok(())
    }

    fn command(&self) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(self.reading.count);
        command.arg("BLOCK").arg(self.reading.block.as_millis() as u64).arg("STREAMS");
        for stream in &self.streams {
            command.arg(&stream.key);
        }
        for stream in &self.streams {
            command.arg(stream.last.as_deref().unwrap_or("0-0"));
        }
        command
    }

    /// Returns the input for the server. `None` for messages of the server itself, unless they were appended
    /// to be delivered.
    fn decode(
        &self,
        stream: &Stream,
        id: &str,
        fields: &HashMap<String, Value>,
    ) -> Result<Option<Inbound>, Malformed> {
        let Reading { inbox, log, .. } = &self.reading;
        let entry = Entry::new(fields)?;
        let offset = || id.parse::<LogOffset>().map_err(|_| Malformed);
        if entry.uid == inbox.server_id().as_str() {
            let message = log.as_ref().zip(entry.number).and_then(|(log, number)| log.take(number));
            return message.map(|message| Ok(Inbound::Logged(message, Some(offset()?)))).transpose();
        }
        Ok(match inbound(inbox, entry.namespace, entry.decode()?) {
            Some(Inbound::Message(message))
                if log.is_some() && stream.is_ordered && is_logged(&message.operation) =>
            {
                Some(Inbound::Logged(message, Some(offset()?)))
            }
            other => other,
        })
    }
}

/// Waits until a slot belongs to another node.
async fn moved(nodes: &Nodes, slot: Option<u16>, node: Option<&Node>) {
    let mut changes = nodes.changes();
    // The sender of the changes is part of `nodes`.
    while nodes.node(slot).as_ref() == node && changes.changed().await.is_ok() {}
}
