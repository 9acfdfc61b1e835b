//! Saves sessions in Redis, and reads the stream for clients that have missed events.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engineio::BoxFuture;
use redis::{
    RedisResult,
    streams::{StreamId, StreamRangeReply},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use socketio::cluster::{
    LogEntries, LogOffset, RecoveryStore, SavedSession,
    node::{Decoded, msgpack_from_json, msgpack_to_json},
};

use super::{Entry, StreamNames};
use crate::{
    dialect::Publish,
    nodes::{Nodes, slot_of},
    queue::{Content, Queue},
};

/// The number of entries that are read at once.
const COUNT: usize = 500;
/// The type of broadcasts in the stream.
const BROADCAST: u8 = 3;

pub(crate) struct Store {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) queue: Queue,
    pub(crate) streams: StreamNames,
    pub(crate) session_prefix: String,
}

/// A session as Node.js saves it. The entries `nsp` and `connected` are not in the sessions of Node.js, which ignores them.
#[derive(Deserialize)]
struct Session<'a> {
    sid: String,
    pid: String,
    nsp: Option<String>,
    #[serde(default)]
    connected: bool,
    rooms: Vec<serde_json::Value>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Store {
    fn key(&self, pid: &str) -> String {
        format!("{}{pid}", self.session_prefix)
    }

    fn push(&self, namespace: &str, command: Publish) {
        if self.queue.push(Content::Command(command)).is_err() {
            tracing::warn!(namespace, "the session of a client cannot be saved: the queue to Redis is full");
        }
    }

    /// Returns the entries from `start` on.
    async fn range(
        nodes: &Arc<Nodes>,
        stream: &str,
        start: &str,
        count: usize,
    ) -> RedisResult<Vec<StreamId>> {
        let mut command = redis::cmd("XRANGE");
        command.arg(stream).arg(start).arg("+").arg("COUNT").arg(count);
        let reply = nodes.query(Some(slot_of(stream.as_bytes())), &command).await?;
        Ok(redis::from_redis_value::<StreamRangeReply>(reply)?.ids)
    }

    async fn has(nodes: &Arc<Nodes>, stream: &str, offset: LogOffset) -> RedisResult<bool> {
        let offset = offset.to_string();
        let first = Self::range(nodes, stream, &offset, 1).await?;
        Ok(first.first().is_some_and(|entry| entry.id == offset))
    }
}

impl RecoveryStore for Store {
    fn save(&self, namespace: &str, session: SavedSession, duration: Duration) {
        let text = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let SavedSession { sid, pid, rooms, data, is_connected } = &session;
        let rooms = serde_json::to_string(rooms).unwrap_or_default();
        let (sid, nsp) = (text(sid), text(namespace));
        let json = format!(
            r#"{{"sid":{sid},"pid":{},"rooms":{rooms},"data":{data},"nsp":{nsp},"connected":{is_connected}}}"#,
            text(pid)
        );
        let Ok(payload) = msgpack_from_json(&json, &[]) else {
            tracing::warn!(
                namespace,
                "the data of a socket is nested too deeply: its client cannot be recovered"
            );
            return;
        };
        let mut command = redis::cmd("SET");
        command.arg(self.key(pid)).arg(BASE64_STANDARD.encode(payload));
        command.arg("PX").arg(duration.as_millis().max(1) as u64);
        self.push(namespace, Publish::keyed(&self.key(pid), command));
    }

    fn remove(&self, namespace: &str, pid: &str) {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(pid));
        self.push(namespace, Publish::keyed(&self.key(pid), command));
    }

    fn take(&self, namespace: Arc<str>, pid: String, offset: LogOffset) -> BoxFuture<Option<SavedSession>> {
        let (key, stream, nodes) = (self.key(&pid), self.streams.of(&namespace), self.nodes.clone());
        Box::pin(async move {
            let saved =
                nodes.query(Some(slot_of(key.as_bytes())), redis::cmd("GETDEL").arg(&key)).await.ok()?;
            let saved: Option<String> = redis::from_redis_value(saved).ok()?;
            let payload = BASE64_STANDARD.decode(saved?).ok()?;
            let (json, attachments) = msgpack_to_json(&payload, 0).ok()?;
            let session: Session<'_> = serde_json::from_str(&json).ok()?;
            let is_of_namespace = session.nsp.is_none_or(|nsp| nsp == *namespace);
            if !is_of_namespace || session.pid != pid || !attachments.is_empty() {
                return None;
            }
            if !Self::has(&nodes, &stream, offset).await.ok()? {
                return None;
            }
            let room = |room: &serde_json::Value| match room {
                serde_json::Value::String(name) => name.into(),
                other => other.to_string().into(),
            };
            let data = session.data.map_or("{}", RawValue::get).into();
            let rooms = session.rooms.iter().map(room).collect();
            let is_connected = session.connected;
            Some(SavedSession { sid: session.sid, pid: session.pid, rooms, data, is_connected })
        })
    }

    fn read(&self, namespace: Arc<str>, start: LogOffset, until: LogOffset) -> BoxFuture<Option<LogEntries>> {
        let (stream, nodes) = (self.streams.of(&namespace), self.nodes.clone());
        Box::pin(async move {
            let mut read = LogEntries { messages: Vec::new(), until };
            loop {
                let LogOffset(milliseconds, number) = read.until;
                let after = LogOffset(milliseconds, number.checked_add(1)?).to_string();
                let entries = Self::range(&nodes, &stream, &after, COUNT).await.ok()?;
                let len = entries.len();
                for entry in entries {
                    let offset: LogOffset = entry.id.parse().ok()?;
                    read.until = offset;
                    let Ok(fields) = Entry::new(&entry.map) else { continue };
                    if fields.namespace == &*namespace
                        && fields.kind == BROADCAST
                        && let Ok(Decoded::Message(message)) = fields.decode()
                    {
                        read.messages.push((offset, message));
                    }
                }
                if len < COUNT {
                    break;
                }
            }
            // Entries are removed from the start of the stream, so none after this one was removed before it
            // was read.
            Self::has(&nodes, &stream, start).await.ok()?.then_some(read)
        })
    }
}
