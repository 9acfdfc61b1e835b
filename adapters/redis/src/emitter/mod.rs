//! Sends events into a cluster from a program that is not a server.

mod link;

use std::{error::Error, fmt, sync::Arc};

use redis::RedisError;
use socketio::{
    EmitError, EventName, Room, ToArgs,
    cluster::{BroadcastFlags, EventPacket, Message, Operation, ServerId, Target},
};

use self::link::Link;
use crate::{
    Classic, Sharded, Streams, classic::ClassicDialect, dialect::Dialect, nodes::Address,
    sharded::ShardedDialect,
};

/// The sender that Node.js expects of an emitter. No server has this id.
const SENDER: &str = "emitter";

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
    namespace: Arc<str>,
    target: Target,
    flags: BroadcastFlags,
}

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
        let (target, flags) = (Target::default(), BroadcastFlags::default());
        Self { dialect, link, namespace: "/".into(), target, flags }
    }

    /// Selects all sockets of a namespace. Equivalent to `emitter.of(path)` in Node.js.
    pub fn of(&self, path: &str) -> Self {
        let (target, flags) = (Target::default(), BroadcastFlags::default());
        Self { dialect: self.dialect.clone(), link: self.link.clone(), namespace: path.into(), target, flags }
    }

    /// Selects the sockets in a room. May be called several times. Equivalent to `emitter.to(room)` in
    /// Node.js.
    pub fn to(mut self, room: impl Into<Room>) -> Self {
        let mut rooms = self.target.rooms().to_vec();
        rooms.push(room.into());
        self.target = Target::new(rooms, self.target.except().into_owned());
        self
    }

    /// Excludes the sockets in a room. May be called several times. Equivalent to `emitter.except(room)` in
    /// Node.js.
    pub fn except(mut self, room: impl Into<Room>) -> Self {
        let mut except = self.target.except().into_owned();
        except.push(room.into());
        self.target = Target::new(self.target.rooms().to_vec(), except);
        self
    }

    /// Drops the event for clients that are not ready. Equivalent to `emitter.volatile` in Node.js.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Sets whether the event may be compressed. Equivalent to `emitter.compress(compress)` in Node.js.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Sends an event to the selected sockets. Equivalent to `emitter.emit(event, ...)` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns an error if the event cannot be encoded, or if Redis has not confirmed it. In the second case,
    /// the event may have been sent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the event may have been sent.
    pub async fn emit<T: ToArgs + ?Sized>(
        self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<(), EmitterError> {
        let packet = EventPacket::encode(&self.namespace, event, args)?;
        let (target, flags) = (self.target.clone(), self.flags);
        self.send(Operation::Broadcast { target, packet, flags }).await
    }

    /// Adds the selected sockets to rooms. Equivalent to `emitter.socketsJoin(rooms)` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit).
    ///
    /// # Cancel safety
    ///
    /// See [`emit`](Self::emit).
    pub async fn sockets_join(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitterError> {
        let rooms = rooms.into_iter().map(Into::into).collect();
        let target = self.target.clone();
        self.send(Operation::Join { target, rooms }).await
    }

    /// Removes the selected sockets from rooms. Equivalent to `emitter.socketsLeave(rooms)` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit).
    ///
    /// # Cancel safety
    ///
    /// See [`emit`](Self::emit).
    pub async fn sockets_leave(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), EmitterError> {
        let rooms = rooms.into_iter().map(Into::into).collect();
        let target = self.target.clone();
        self.send(Operation::Leave { target, rooms }).await
    }

    /// Disconnects the selected sockets. The connections of their clients stay open. Equivalent to
    /// `emitter.disconnectSockets()` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit).
    ///
    /// # Cancel safety
    ///
    /// See [`emit`](Self::emit).
    pub async fn disconnect_sockets(self) -> Result<(), EmitterError> {
        let target = self.target.clone();
        self.send(Operation::Disconnect { target, close: false }).await
    }

    /// Closes the connections of the clients of the selected sockets. Equivalent to
    /// `emitter.disconnectSockets(true)` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit).
    ///
    /// # Cancel safety
    ///
    /// See [`emit`](Self::emit).
    pub async fn close_sockets(self) -> Result<(), EmitterError> {
        let target = self.target.clone();
        self.send(Operation::Disconnect { target, close: true }).await
    }

    /// Sends an event to all servers. Equivalent to `emitter.serverSideEmit(event, ...)` in Node.js.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit).
    ///
    /// # Cancel safety
    ///
    /// See [`emit`](Self::emit).
    pub async fn server_side_emit<T: ToArgs + ?Sized>(
        self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<(), EmitterError> {
        let packet = EventPacket::encode(&self.namespace, event, args)?;
        self.send(Operation::ServerEvent { request: None, packet }).await
    }

    async fn send(&self, operation: Operation) -> Result<(), EmitterError> {
        let message = Message { from: ServerId::from(SENDER), namespace: self.namespace.clone(), operation };
        for publish in self.dialect.encode(&message) {
            self.link.send(&publish).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("namespace", &self.namespace)
            .field("target", &self.target)
            .finish_non_exhaustive()
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
