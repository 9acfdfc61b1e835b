//! Sends events into a cluster from a program that is not a server.

use std::{error::Error, fmt, sync::Arc};

use redis::{AsyncConnectionConfig, Client, RedisError, Value, aio::MultiplexedConnection};
use socketio::{EmitError, cluster::Message};
use socketio_broker::Selection;
use tokio::sync::Mutex;

use crate::{
    Classic, Sharded, Streams,
    classic::ClassicDialect,
    connect::RESPONSE_TIMEOUT,
    dialect::{Dialect, Publish},
    sharded::ShardedDialect,
    streams::StreamsDialect,
};

/// Sends events to the clients of a cluster from a program that is not a server, such as a worker or a
/// scheduled task. Cheap to clone. Equivalent to `Emitter` of `@socket.io/redis-emitter` for [`Classic`]
/// fleets, and of `@socket.io/redis-streams-emitter` for [`Streams`] fleets; Node.js has none for [`Sharded`]
/// fleets.
///
/// # Examples
///
/// ```no_run
/// use socketio_redis::{Classic, Emitter};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let emitter = Emitter::classic(Classic::new("redis://127.0.0.1:6379")?);
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

socketio_broker::emitter_methods!(Emitter, EmitterError, "Redis");

struct Link {
    client: Client,
    dialect: Box<dyn Dialect>,
    /// Opened when it is needed first, and again after an error.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Emitter {
    /// Creates an emitter for the namespace `/` of a [`Classic`] fleet. The options must be those of the
    /// servers. Does not connect.
    pub fn classic(fleet: Classic) -> Self {
        let Classic { connection, key, .. } = fleet;
        Self::new(connection.client, ClassicDialect { key, specific_responses: false })
    }

    /// Like [`classic`](Self::classic), but for a [`Sharded`] fleet.
    pub fn sharded(fleet: Sharded) -> Self {
        let Sharded { connection, prefix, mode } = fleet;
        Self::new(connection.client, ShardedDialect::new(prefix, mode))
    }

    /// Like [`classic`](Self::classic), but for a [`Streams`] fleet.
    pub fn streams(fleet: Streams) -> Self {
        let Streams { connection, stream, max_len, prefix, .. } = fleet;
        Self::new(connection.client, StreamsDialect { stream, max_len, prefix })
    }

    fn new(client: Client, dialect: impl Dialect) -> Self {
        let link = Arc::new(Link { client, dialect: Box::new(dialect), connection: Mutex::default() });
        Self { link, selection: Selection::new("/") }
    }

    async fn send(&self, message: Message) -> Result<(), EmitterError> {
        for Publish { command, .. } in self.link.dialect.encode(&message) {
            let mut connection = self.link.connection().await?;
            if let Err(error) = command.query_async::<Value>(&mut connection).await {
                self.link.connection.lock().await.take();
                return Err(error.into());
            }
        }
        Ok(())
    }
}

impl Link {
    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let new = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(connection.insert(new).clone())
    }
}

/// The error that an [`Emitter`] has not sent a message.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitterError {
    /// The message cannot be encoded.
    Encode(EmitError),
    /// Redis has not confirmed the message.
    Redis(RedisError),
}

impl fmt::Display for EmitterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(_) => f.write_str("the message cannot be encoded"),
            Self::Redis(_) => f.write_str("Redis has not confirmed the message"),
        }
    }
}

impl Error for EmitterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::Redis(error) => Some(error),
        }
    }
}

impl From<EmitError> for EmitterError {
    fn from(error: EmitError) -> Self {
        Self::Encode(error)
    }
}

impl From<RedisError> for EmitterError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}
