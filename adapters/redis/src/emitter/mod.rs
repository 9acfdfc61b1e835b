//! Sends events into a cluster from a program that is not a server.

mod link;

use std::{error::Error, fmt, sync::Arc};

use redis::RedisError;
use socketio::{EmitError, cluster::Message};
use socketio_broker::Selection;

use self::link::Link;
use crate::{
    Classic, Sharded, Streams, classic::ClassicDialect, dialect::Dialect, nodes::Address,
    sharded::ShardedDialect,
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
    dialect: Arc<dyn Dialect>,
    link: Arc<Link>,
    selection: Selection,
}

socketio_broker::emitter_methods!(Emitter, EmitterError, "Redis");

impl Emitter {
    /// Creates an emitter for the namespace `/` of a [`Classic`] fleet. The options must be those of the
    /// servers. Does not connect.
    pub fn classic(fleet: Classic) -> Self {
        let Classic { connection, key, .. } = fleet;
        Self::new(connection.address, ClassicDialect { key, specific_responses: false })
    }

    /// Like [`classic`](Self::classic), but for a [`Sharded`] fleet.
    pub fn sharded(fleet: Sharded) -> Self {
        let Sharded { connection, prefix, mode } = fleet;
        Self::new(connection.address, ShardedDialect::new(prefix, mode))
    }

    /// Like [`classic`](Self::classic), but for a [`Streams`] fleet.
    pub fn streams(fleet: Streams) -> Self {
        let dialect = fleet.dialect();
        Self::new(fleet.connection.address, dialect)
    }

    fn new(address: Address, dialect: impl Dialect) -> Self {
        let (dialect, link) = (Arc::new(dialect), Arc::new(Link::new(address)));
        Self { dialect, link, selection: Selection::new("/") }
    }

    async fn send(&self, message: Message) -> Result<(), EmitterError> {
        for publish in self.dialect.encode(&message) {
            self.link.send(&publish).await?;
        }
        Ok(())
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
