//! Saves sessions, and reads the stream for clients that have missed events.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, pull},
    stream::LastRawMessageErrorKind,
};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use socketio::{
    BoxFuture,
    cluster::{
        LogEntries, LogOffset, RecoveryStore, SavedSession,
        node::{Decoded, decode_in},
    },
};
use socketio_broker::{Outgoing, Peer, is_logged};
use tokio::sync::watch;

use super::{Error, EventLog, offset};
use crate::{
    publisher::Connected,
    subjects::{Subjects, token},
};

/// The time after which NATS removes a consumer that has stopped reading.
const INACTIVE: Duration = Duration::from_secs(10);
/// The number of messages that are read at once.
const COUNT: usize = 500;

pub(crate) struct Store {
    pub(crate) peer: Arc<Peer<Subjects>>,
    pub(crate) connections: watch::Receiver<Option<Connected>>,
}

/// The state of a socket, as it is saved.
#[derive(Serialize, Deserialize)]
struct Saved<'a> {
    sid: String,
    pid: String,
    nsp: String,
    rooms: Vec<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    connected: bool,
    /// The end of the session, in milliseconds since 1970.
    expires: u64,
}

/// Returns the content of a saved session.
pub(crate) fn encode(
    namespace: &str,
    session: &SavedSession,
    duration: Duration,
) -> Result<Bytes, serde_json::Error> {
    let SavedSession { sid, pid, rooms, data, is_connected } = session;
    let saved = Saved {
        sid: sid.clone(),
        pid: pid.clone(),
        nsp: namespace.to_owned(),
        rooms: rooms.iter().map(ToString::to_string).collect(),
        data: serde_json::from_str(data)?,
        connected: *is_connected,
        expires: now().saturating_add(milliseconds(duration)),
    };
    Ok(serde_json::to_vec(&saved)?.into())
}

fn now() -> u64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl RecoveryStore for Store {
    fn save(&self, namespace: &str, session: SavedSession, duration: Duration) {
        self.push(namespace, Outgoing::SaveSession(namespace.into(), Box::new(session), duration));
    }

    fn remove(&self, namespace: &str, pid: &str) {
        self.push(namespace, Outgoing::RemoveSession(namespace.into(), pid.into()));
    }

    fn take(&self, namespace: Arc<str>, pid: String, offset: LogOffset) -> BoxFuture<Option<SavedSession>> {
        let (log, subject) = (self.log(), self.peer.channels.session(&token(&pid)));
        Box::pin(async move {
            let taken = take(&log?, subject, &namespace, &pid, offset).await;
            taken.unwrap_or_else(|error| {
                tracing::debug!(%error, "a session cannot be read");
                None
            })
        })
    }

    fn read(&self, namespace: Arc<str>, start: LogOffset, until: LogOffset) -> BoxFuture<Option<LogEntries>> {
        let (log, subject) = (self.log(), self.peer.channels.log(&namespace));
        Box::pin(async move {
            let read = read(&log?, &namespace, subject, start, until).await;
            read.unwrap_or_else(|error| {
                tracing::debug!(%error, "the stream of the cluster cannot be read");
                None
            })
        })
    }
}

impl Store {
    fn push(&self, namespace: &str, message: Outgoing) {
        if self.peer.queue.push(message).is_err() {
            tracing::warn!(namespace, "the session of a client cannot be saved: the queue to NATS is full");
        }
    }

    /// Returns the event log if NATS is connected.
    fn log(&self) -> Option<EventLog> {
        self.connections.borrow().as_ref()?.log.clone()
    }
}

async fn take(
    log: &EventLog,
    subject: String,
    namespace: &str,
    pid: &str,
    offset: LogOffset,
) -> Result<Option<SavedSession>, Error> {
    let sessions = log.context.get_stream_no_info(log.options.sessions()).await?;
    let message = match sessions.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => message,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if message.payload.is_empty() {
        // The session was removed.
        return Ok(None);
    }
    let saved: Saved<'_> = serde_json::from_slice(&message.payload)?;
    if saved.nsp != namespace || saved.pid != pid || saved.expires <= now() || !has(log, offset).await {
        return Ok(None);
    }
    // Fails if another server has taken the session meanwhile.
    sessions.delete_message(message.sequence).await?;
    let rooms = saved.rooms.iter().map(|room| room.as_str().into()).collect();
    Ok(Some(SavedSession {
        sid: saved.sid,
        pid: saved.pid,
        rooms,
        data: saved.data.get().into(),
        is_connected: saved.connected,
    }))
}

/// Returns `true` if the stream has the message at this position.
async fn has(log: &EventLog, position: LogOffset) -> bool {
    let message = log.stream.get_raw_message(position.0).await;
    message.is_ok_and(|message| offset(message.sequence, message.time) == position)
}

async fn read(
    log: &EventLog,
    namespace: &str,
    subject: String,
    start: LogOffset,
    until: LogOffset,
) -> Result<Option<LogEntries>, Error> {
    let end = log.stream.get_info().await?.state.last_sequence;
    let mut messages = Vec::new();
    if end > until.0 {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: until.0 + 1 },
            ack_policy: AckPolicy::None,
            filter_subject: subject,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = log.stream.create_consumer(config).await?;
        let mut pending = consumer.cached_info().num_pending;
        while pending > 0 {
            let mut fetched = consumer.fetch().max_messages(COUNT).messages().await?;
            let mut is_empty = true;
            while let Some(message) = fetched.next().await {
                let message = message?;
                let info = message.info()?;
                (pending, is_empty) = (info.pending, false);
                if info.stream_sequence > end {
                    pending = 0;
                    break;
                }
                if let Ok(Decoded::Message(decoded)) = decode_in(namespace, &message.payload)
                    && is_logged(&decoded.operation)
                {
                    messages.push((offset(info.stream_sequence, info.published), decoded));
                }
            }
            if is_empty {
                // The messages were removed before they were read.
                break;
            }
        }
        // Otherwise, NATS removes it when it is not used for a while.
        let _ = log.stream.delete_consumer(&consumer.cached_info().name).await;
    }
    // Messages are removed from the start of the stream, so none after this one was removed before it was read.
    if !has(log, start).await {
        return Ok(None);
    }
    // The time of the last message is not known if it is of another namespace.
    let until = if end > until.0 { LogOffset(end, u64::MAX) } else { until };
    Ok(Some(LogEntries { messages, until }))
}
