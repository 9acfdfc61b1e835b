//! The event log of a fleet: a stream of JetStream, and another one of saved sessions.

mod reader;
mod store;

use async_nats::{
    Client, HeaderMap,
    jetstream::{
        Context,
        context::{ContextBuilder, PublishAckFuture, PublishErrorKind},
        message::PublishMessage,
        stream::{Config, StorageType, Stream},
    },
};
use bytes::Bytes;
use socketio::cluster::LogOffset;
use tokio::time::Duration;

use crate::{publisher::RESPONSE_TIMEOUT, subjects::Subjects};
pub(crate) use reader::Reader;
pub(crate) use store::{Store, encode};

/// The header of a broadcast that its server delivers when it reads it: the id of the server, and a number.
pub(crate) const LOGGED: &str = "Sio-Logged";
/// The error with which a stream cannot be used.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The options of the event log, for [`Nats::jetstream`](crate::Nats::jetstream). They must be the same on all servers.
///
/// The streams are created if they do not exist. Existing ones are used as they are.
#[derive(Debug, Clone)]
pub struct JetStream {
    name: String,
    max_messages: i64,
    storage: StorageType,
    replicas: usize,
}

impl Default for JetStream {
    fn default() -> Self {
        Self { name: "socket-io".to_owned(), max_messages: 10_000, storage: StorageType::File, replicas: 1 }
    }
}

impl JetStream {
    /// Sets the name of the stream. Sessions are saved in another one, with the suffix `-sessions`.
    /// Defaults to `socket-io`.
    ///
    /// # Panics
    ///
    /// Panics if the name has other characters than ASCII letters, digits, `-` and `_`.
    #[must_use]
    #[track_caller]
    pub fn stream_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(
            !self.name.is_empty() && self.name.bytes().all(is_valid),
            "`{}` is not the name of a stream",
            self.name
        );
        self
    }

    /// Sets the number of messages that the stream keeps. Defaults to 10,000. A server that lags behind by more misses
    /// messages, and a client that has missed an event that is no longer there gets a new socket.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0 or more than 2<sup>63</sup> - 1.
    #[must_use]
    #[track_caller]
    pub fn max_messages(mut self, messages: u64) -> Self {
        assert!(messages > 0, "the stream must keep a message");
        self.max_messages = i64::try_from(messages).expect("more messages than JetStream can count");
        self
    }

    /// Keeps the stream and the sessions in the memory of NATS instead of on its disk. They are then lost when NATS is
    /// restarted. Defaults to `false`.
    #[must_use]
    pub fn in_memory(mut self, is_in_memory: bool) -> Self {
        self.storage = if is_in_memory { StorageType::Memory } else { StorageType::File };
        self
    }

    /// Sets the number of servers of a NATS cluster that keep the stream and the sessions. Defaults to 1.
    #[must_use]
    pub fn replicas(mut self, servers: usize) -> Self {
        self.replicas = servers;
        self
    }

    fn sessions(&self) -> String {
        format!("{}-sessions", self.name)
    }

    fn config(&self) -> Config {
        Config { storage: self.storage, num_replicas: self.replicas, ..Config::default() }
    }

    /// Opens the stream on a connection, and creates it if it does not exist.
    pub(crate) async fn open(&self, client: &Client, subjects: &Subjects) -> Result<EventLog, Error> {
        let context = ContextBuilder::new()
            .timeout(RESPONSE_TIMEOUT)
            .ack_timeout(RESPONSE_TIMEOUT)
            .build(client.clone());
        let stream = context.get_or_create_stream(Config {
            name: self.name.clone(),
            subjects: vec![subjects.all_logs()],
            max_messages: self.max_messages,
            ..self.config()
        });
        Ok(EventLog { stream: stream.await?, context, options: self.clone() })
    }
}

/// The event log, on a connection.
#[derive(Clone)]
pub(crate) struct EventLog {
    context: Context,
    stream: Stream,
    options: JetStream,
}

/// The result of a message that NATS has not stored.
pub(crate) enum Rejected {
    /// NATS has refused the message, with this error.
    Refused(Error),
    /// The message may have been stored.
    Unknown,
}

impl<E: Into<Error>> From<E> for Rejected {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl EventLog {
    /// Appends a message. The messages are appended in the order of the calls, without waiting for the results of those
    /// before.
    pub(crate) async fn append(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAckFuture, Rejected> {
        let message = PublishMessage::build().headers(headers).payload(payload);
        self.context.send_publish(subject, message).await.map_err(|error| match error.kind() {
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe | PublishErrorKind::Other => {
                Rejected::Unknown
            }
            _ => error.into(),
        })
    }

    /// Waits until NATS has stored a message.
    pub(crate) async fn stored(sent: PublishAckFuture) -> Result<(), Rejected> {
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Err(Rejected::Unknown),
                _ => Err(error.into()),
            },
        }
    }

    /// Creates the stream of sessions if it does not exist. `max_age` is the time after which it removes sessions.
    pub(crate) async fn create_sessions(&self, subjects: &Subjects, max_age: Duration) -> Result<(), Error> {
        let config = Config {
            name: self.options.sessions(),
            subjects: vec![subjects.session("*")],
            max_messages_per_subject: 1,
            max_age,
            ..self.options.config()
        };
        self.context.get_or_create_stream(config).await?;
        Ok(())
    }
}

/// Returns the position of a message, as a number in the stream and the time at which it was stored in nanoseconds.
fn offset(sequence: u64, time: async_nats::datetime::DateTime) -> LogOffset {
    LogOffset(sequence, u64::try_from(time.unix_timestamp_nanos()).unwrap_or(0))
}
