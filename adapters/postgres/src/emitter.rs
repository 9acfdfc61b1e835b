//! Sends events into a cluster from a program that is not a server.

use std::{error::Error, fmt, sync::Arc};

use socketio::{
    EmitError,
    cluster::{Message, node::encode_message},
};
use socketio_broker::Selection;
use tokio::{sync::Mutex, time::timeout};
use tokio_postgres::Config;

use crate::{
    Postgres, PostgresError,
    connect::{Opened, RESPONSE_TIMEOUT, open},
    names::Names,
    payload::Payload,
    statement::{Statement, is_refusal},
};

/// Sends events to the clients of a cluster from a program that is not a server, such as a worker or a
/// scheduled task. Cheap to clone. Equivalent to `Emitter` of `@socket.io/postgres-emitter`. Servers of Node.js
/// with version 0.5 of the adapter receive its messages, but not those of the emitter of Node.js.
///
/// A method that sends returns when Postgres has confirmed the message. Messages that are sent one after the
/// other arrive in this order.
///
/// # Examples
///
/// ```no_run
/// use socketio_postgres::{Emitter, Postgres};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let emitter = Emitter::new(Postgres::new("postgres://app:secret@127.0.0.1/app")?);
/// emitter.of("/chat").to("lobby").emit("news", "Tea is ready.").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is sent before `emit`"]
pub struct Emitter {
    link: Arc<Link>,
    selection: Selection,
}

socketio_broker::emitter_methods!(Emitter, EmitterError, "Postgres");

struct Link {
    config: Config,
    names: Names,
    table: String,
    /// Opened when it is needed first, and again when it is lost.
    connection: Mutex<Option<Arc<Opened>>>,
}

impl Emitter {
    /// Creates an emitter for the namespace `/` of a fleet. The prefix and the table must be those of the
    /// servers. Does not connect.
    pub fn new(fleet: Postgres) -> Self {
        let Postgres { config, prefix, table, .. } = fleet;
        let link = Link { config, names: Names { prefix }, table, connection: Mutex::default() };
        Self { link: Arc::new(link), selection: Selection::new("/") }
    }

    async fn send(&self, message: Message) -> Result<(), EmitterError> {
        let Message { from, namespace, .. } = &message;
        let payload = encode_message(&message).and_then(|encoded| Payload::new(from, namespace, &encoded));
        let statement =
            Statement::new(self.link.names.channel(namespace), payload.ok_or(EmitterError::Attachment)?);
        let connected = timeout(RESPONSE_TIMEOUT, self.link.connection()).await;
        let connection =
            connected.unwrap_or_else(|error| Err(error.into())).map_err(EmitterError::Connect)?;
        let executing = statement.execute(&connection.client, &self.link.table);
        let error = match timeout(RESPONSE_TIMEOUT, executing).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if is_refusal(&error, &connection.client) => {
                return Err(EmitterError::Refused(error));
            }
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        self.link.discard(&connection).await;
        Err(EmitterError::Unconfirmed(error))
    }
}

impl Link {
    async fn connection(&self) -> Result<Arc<Opened>, Box<dyn Error + Send + Sync>> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = &*current
            && !connection.client.is_closed()
        {
            return Ok(connection.clone());
        }
        let opened = open(&self.config).await?;
        Ok(current.insert(Arc::new(opened)).clone())
    }

    /// Opens a new connection for the next message.
    async fn discard(&self, connection: &Arc<Opened>) {
        let mut current = self.connection.lock().await;
        current.take_if(|current| Arc::ptr_eq(current, connection));
    }
}

/// The error that an [`Emitter`] has not sent a message, or that it is unknown whether the message was sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitterError {
    /// The event cannot be encoded. Nothing was sent.
    Encode(EmitError),
    /// The message cannot be an attachment, because it is longer than 4 GiB or nested more than 128 levels
    /// deep. Nothing was sent.
    Attachment,
    /// Postgres cannot be reached, or has not accepted the connection within 5 seconds. Nothing was sent.
    Connect(Box<dyn Error + Send + Sync>),
    /// Postgres has refused the message, for example because the table of attachments does not exist. Nothing
    /// was sent.
    Refused(PostgresError),
    /// The connection was lost, or Postgres has not responded within 5 seconds. The message may have been
    /// sent.
    Unconfirmed(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for EmitterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encode(_) => "the message cannot be encoded",
            Self::Attachment => "the message is too long, or nested too deeply",
            Self::Connect(_) => "Postgres cannot be reached",
            Self::Refused(_) => "Postgres has refused the message",
            Self::Unconfirmed(_) => "Postgres has not confirmed the message",
        })
    }
}

impl Error for EmitterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::Attachment => None,
            Self::Connect(error) | Self::Unconfirmed(error) => Some(&**error),
            Self::Refused(error) => Some(error),
        }
    }
}

impl From<EmitError> for EmitterError {
    fn from(error: EmitError) -> Self {
        Self::Encode(error)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Serialize, Serializer};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::yield_now,
    };

    use super::*;

    /// Arrays in each other.
    struct Nested(usize);

    impl Serialize for Nested {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.checked_sub(1).map(Nested))
        }
    }

    async fn emitter() -> (TcpListener, Emitter) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://app@{}/app", listener.local_addr().unwrap());
        (listener, Emitter::new(Postgres::new(&url).unwrap()))
    }

    #[tokio::test]
    async fn an_unreachable_server_is_an_error() {
        let (listener, emitter) = emitter().await;
        drop(listener);
        let error = emitter.of("/").emit("e", &1).await.unwrap_err();
        assert!(matches!(error, EmitterError::Connect(_)), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_messages_wait_for_a_silent_server_together() {
        let (_listener, emitter) = emitter().await;
        let start = tokio::time::Instant::now();
        let emit = || emitter.of("/").emit("e", &1);
        for result in futures::future::join_all([emit(), emit(), emit()]).await {
            assert!(matches!(result, Err(EmitterError::Connect(_))), "{result:?}");
        }
        assert!(start.elapsed() < RESPONSE_TIMEOUT * 2);
    }

    /// Accepts a connection as Postgres does, and the first statement, which sets an option.
    async fn accept(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        for response in [&b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"[..], b"C\0\0\0\x08SET\0Z\0\0\0\x05I"] {
            assert_ne!(stream.read(&mut [0; 1_024]).await.unwrap(), 0);
            stream.write_all(response).await.unwrap();
        }
        stream
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_is_not_used_again() {
        let (listener, emitter) = emitter().await;
        let (connection, stream) = tokio::join!(emitter.link.connection(), accept(&listener));
        let first = connection.unwrap();
        assert!(Arc::ptr_eq(&first, &emitter.link.connection().await.unwrap()));
        drop(stream);
        while !first.client.is_closed() {
            yield_now().await;
        }
        let (second, _stream) = tokio::join!(emitter.link.connection(), accept(&listener));
        assert!(!Arc::ptr_eq(&first, &second.unwrap()));
    }

    #[tokio::test]
    async fn an_error_that_ends_the_connection_is_no_refusal() {
        for (severity, is_refused) in [("ERROR", true), ("FATAL", false)] {
            let (listener, emitter) = emitter().await;
            let serving = async {
                let mut stream = accept(&listener).await;
                assert_ne!(stream.read(&mut [0; 1_024]).await.unwrap(), 0);
                let fields = format!("S{severity}\0V{severity}\0C57P01\0Mno\0\0");
                let len = u32::try_from(4 + fields.len()).unwrap().to_be_bytes();
                let error = [b"E", &len[..], fields.as_bytes(), b"Z\0\0\0\x05I"].concat();
                stream.write_all(&error).await.unwrap();
                stream
            };
            let (sent, _stream) = tokio::join!(emitter.of("/").emit("e", &1), serving);
            let error = sent.unwrap_err();
            assert_eq!(matches!(error, EmitterError::Refused(_)), is_refused, "{error:?}");
            assert_eq!(matches!(error, EmitterError::Unconfirmed(_)), !is_refused, "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_sent_does_not_connect() {
        let (_listener, emitter) = emitter().await;
        let error = emitter.of("/").emit("connect", &1).await.unwrap_err();
        assert!(matches!(error, EmitterError::Encode(EmitError::ReservedEvent)), "{error:?}");
        let deep_and_long = (Nested(200), "x".repeat(9_000));
        let error = emitter.of("/").emit("e", &deep_and_long).await.unwrap_err();
        assert!(matches!(error, EmitterError::Attachment), "{error:?}");
    }
}
