#![doc = include_str!("../README.md")]
// docs.rs names the cargo feature of each item.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod classic;
mod count;
mod dialect;
mod emitter;
mod nodes;
mod queue;
mod sharded;
mod streams;
mod subscriber;
#[cfg(test)]
mod testing;
mod writer;

use std::{sync::Arc, time::Duration};

use socketio::cluster::{Backend, Broker, Inbox};
use socketio_broker::Log;

use crate::{
    backend::{ConnectionOptions, RedisBackend},
    classic::ClassicDialect,
    nodes::Address,
    sharded::ShardedDialect,
    streams::{Reading, Store, StreamNames, StreamsDialect, start},
};

pub use emitter::{Emitter, EmitterError};
/// An error of Redis, such as an invalid address.
pub use redis::RedisError;

fn options(url: &str) -> Result<ConnectionOptions, RedisError> {
    Ok(ConnectionOptions {
        address: Address::parse(url)?,
        max_queued_bytes: 64 * 1024 * 1024,
        max_queued_age: Duration::from_secs(5),
        watchdog_interval: Duration::from_secs(5),
    })
}

/// The adapter that uses `PUBLISH`, as `createAdapter` of `@socket.io/redis-adapter` does. Each server receives
/// all messages.
#[derive(Debug, Clone)]
pub struct Classic {
    connection: ConnectionOptions,
    key: String,
    specific_responses: bool,
}

impl Classic {
    /// Creates an adapter for a Redis URL: `redis://host:6379`, `redis-sentinel://host:26379,host/name-of-the-master` or
    /// `redis-cluster://host:6379,host`. Does not connect. See [deployments](crate#deployments).
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self { connection: options(url)?, key: "socket.io".to_owned(), specific_responses: false })
    }

    /// Sets the prefix of the channels. Defaults to `socket.io`. Called `key` in Node.js.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets whether responses are sent to the requesting server alone. Defaults to `false`. Called
    /// `publishOnSpecificResponseChannel` in Node.js.
    #[must_use]
    pub fn publish_on_specific_response_channel(mut self, is_enabled: bool) -> Self {
        self.specific_responses = is_enabled;
        self
    }
}

socketio_broker::queue_options!(Classic, connection);

impl Broker for Classic {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let dialect = ClassicDialect { key: self.key, specific_responses: self.specific_responses };
        Arc::new(RedisBackend::start(self.connection, Arc::new(dialect), inbox, |_| None))
    }
}

/// The rooms that have channels of their own with the [`Sharded`] adapter. The mode must be the same on all
/// servers. Called `subscriptionMode` in Node.js.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SubscriptionMode {
    /// No room. Each server receives all messages.
    Static,
    /// Rooms, but not the rooms of socket ids. A server receives the broadcasts to a single room only if it
    /// has sockets in the room.
    #[default]
    Dynamic,
    /// Rooms, and the rooms of socket ids.
    DynamicPrivate,
}

/// The adapter that uses `SPUBLISH`, as `createShardedAdapter` of `@socket.io/redis-adapter` does. Requires
/// Redis 7.
#[derive(Debug, Clone)]
pub struct Sharded {
    connection: ConnectionOptions,
    prefix: String,
    mode: SubscriptionMode,
}

impl Sharded {
    /// Creates an adapter for a Redis URL: `redis://host:6379`, `redis-sentinel://host:26379,host/name-of-the-master` or
    /// `redis-cluster://host:6379,host`. Does not connect. See [deployments](crate#deployments).
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        let mode = SubscriptionMode::default();
        Ok(Self { connection: options(url)?, prefix: "socket.io".to_owned(), mode })
    }

    /// Sets the prefix of the channels. Defaults to `socket.io`. Called `channelPrefix` in Node.js.
    #[must_use]
    pub fn channel_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets which rooms have channels of their own. Defaults to [`SubscriptionMode::Dynamic`].
    #[must_use]
    pub fn subscription_mode(mut self, mode: SubscriptionMode) -> Self {
        self.mode = mode;
        self
    }
}

socketio_broker::queue_options!(Sharded, connection);

impl Broker for Sharded {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let dialect = ShardedDialect::new(self.prefix, self.mode);
        Arc::new(RedisBackend::start(self.connection, Arc::new(dialect), inbox, |_| None))
    }
}

/// The adapter that appends broadcasts to a stream, as `@socket.io/redis-streams-adapter` does. Each server
/// reads all broadcasts, and reads those that were added while it was not connected to Redis.
#[derive(Debug, Clone)]
pub struct Streams {
    connection: ConnectionOptions,
    names: StreamNames,
    max_len: usize,
    read_count: usize,
    block: Duration,
    prefix: String,
    is_sharded: bool,
    session_prefix: String,
}

impl Streams {
    /// Creates an adapter for a Redis URL: `redis://host:6379`, `redis-sentinel://host:26379,host/name-of-the-master` or
    /// `redis-cluster://host:6379,host`. Does not connect. See [deployments](crate#deployments).
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self {
            connection: options(url)?,
            names: StreamNames { name: "socket.io".to_owned(), count: 1 },
            max_len: 10_000,
            read_count: 100,
            block: Duration::from_secs(5),
            prefix: "socket.io".to_owned(),
            is_sharded: false,
            session_prefix: "sio:session:".to_owned(),
        })
    }

    /// Sets the key of the stream. Defaults to `socket.io`. Called `streamName` in Node.js.
    #[must_use]
    pub fn stream_name(mut self, name: impl Into<String>) -> Self {
        self.names.name = name.into();
        self
    }

    /// Sets the number of streams. Namespaces are distributed over them; their keys are those of
    /// [`stream_name`](Self::stream_name), followed by `-0`, `-1` and so on if there are several. Must be the same on
    /// all servers. In a Redis Cluster, the streams may have different nodes, which share the load. Defaults to 1.
    /// Called `streamCount` in Node.js.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redis = socketio_redis::Streams::new("redis-cluster://10.0.0.1,10.0.0.2")?.stream_count(8);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the number is 0 or more than 1,024.
    #[must_use]
    #[track_caller]
    pub fn stream_count(mut self, streams: u32) -> Self {
        assert!((1..=1_024).contains(&streams), "the number of streams must be from 1 to 1,024");
        self.names.count = streams;
        self
    }

    /// Sets the approximate number of entries that Redis keeps in the stream. Defaults to 10,000. A server that
    /// lags behind by more entries misses messages. Called `maxLen` in Node.js.
    #[must_use]
    pub fn max_len(mut self, entries: usize) -> Self {
        self.max_len = entries;
        self
    }

    /// Sets the maximum number of entries that are read at once. Defaults to 100. Called `readCount` in
    /// Node.js.
    #[must_use]
    pub fn read_count(mut self, entries: usize) -> Self {
        self.read_count = entries;
        self
    }

    /// Sets the prefix of the channels of requests. Defaults to `socket.io`. Must differ from the key of a
    /// [`Classic`] fleet on the same Redis, whose servers of Node.js fail on the messages. Called
    /// `channelPrefix` in Node.js.
    #[must_use]
    pub fn channel_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

impl Streams {
    /// Sets whether requests are sent by `SPUBLISH` instead of `PUBLISH`. In a Redis Cluster, they are then handled by
    /// one node instead of all. Requires Redis 7. Must be the same on all servers. Defaults to `false`. Called
    /// `useShardedPubSub` in Node.js.
    #[must_use]
    pub fn sharded_pub_sub(mut self, is_enabled: bool) -> Self {
        self.is_sharded = is_enabled;
        self
    }

    fn dialect(&self) -> StreamsDialect {
        let (streams, prefix) = (self.names.clone(), self.prefix.clone());
        StreamsDialect { streams, max_len: self.max_len, prefix, is_sharded: self.is_sharded }
    }

    /// Sets the prefix of the keys of sessions that are saved for connection state recovery. Defaults to
    /// `sio:session:`. Called `sessionKeyPrefix` in Node.js.
    #[must_use]
    pub fn session_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.session_prefix = prefix.into();
        self
    }
}

socketio_broker::queue_options!(Streams, connection);

impl Broker for Streams {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let dialect = self.dialect();
        let Self { connection, names, read_count: count, block, session_prefix, .. } = self;
        let mut log = None;
        let redis = RedisBackend::start(connection, Arc::new(dialect), inbox.clone(), |shared| {
            log = inbox.wants_recovery().then(|| Arc::new(Log::new(shared.clone())));
            log.clone()
        });
        let (nodes, shared) = (redis.nodes.clone(), redis.shared.clone());
        let is_recoverable = log.is_some();
        start(&Reading { nodes: nodes.clone(), shared, inbox, count, block, log }, &names);
        if !is_recoverable {
            return Arc::new(redis);
        }
        let store = Store { nodes, queue: redis.queue.clone(), streams: names, session_prefix };
        Arc::new(redis.with_recovery(Arc::new(store)))
    }
}

/// Compiles the code in the guide to clusters.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/cluster.md")]
struct ClusterGuide;
