#![doc = include_str!("../README.md")]
// docs.rs names the cargo feature of each item.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;
mod emitter;
mod listener;
mod names;
mod payload;
mod sender;
mod statement;

use std::{sync::Arc, time::Duration};

use socketio::cluster::{Backend, Broker, Inbox};
use socketio_broker::{HeartbeatBackend, Options, Peer, Writer};
use tokio_postgres::Config;

use crate::{
    listener::Listener,
    names::{MAX_PREFIX, Names},
    sender::SenderConnector,
};

pub use emitter::{Emitter, EmitterError};
/// An error of Postgres, such as an invalid URL.
pub use tokio_postgres::Error as PostgresError;

/// The adapter that uses `NOTIFY` and `LISTEN`, as `@socket.io/postgres-adapter` does. Each server receives all
/// messages.
#[derive(Debug, Clone)]
pub struct Postgres {
    config: Config,
    options: Options,
    prefix: String,
    table: String,
    cleanup_interval: Duration,
}

impl Postgres {
    /// Creates an adapter for a Postgres URL, such as `postgres://user:password@127.0.0.1/database`, or a
    /// connection string, such as `host=/run/postgresql user=app`.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid. Does not connect.
    pub fn new(url: &str) -> Result<Self, PostgresError> {
        Ok(Self::with_config(url.parse()?))
    }

    /// Creates an adapter for a configuration of `tokio-postgres`. Does not connect.
    pub fn with_config(config: Config) -> Self {
        Self {
            config,
            options: Options::default(),
            prefix: "socket.io".to_owned(),
            table: "socket_io_attachments".to_owned(),
            cleanup_interval: Duration::from_secs(30),
        }
    }

    /// Sets the prefix of the channels. Defaults to `socket.io`. Called `channelPrefix` in Node.js.
    ///
    /// # Panics
    ///
    /// Panics if the prefix is longer than 40 bytes or contains a NUL.
    #[must_use]
    #[track_caller]
    pub fn channel_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        let is_valid = self.prefix.len() <= MAX_PREFIX && !self.prefix.contains('\0');
        assert!(is_valid, "the prefix of the channels must not be longer than {MAX_PREFIX} bytes");
        self
    }

    /// Sets the table that holds binary messages, and those that are too long for a notification. Defaults to
    /// `socket_io_attachments`. The name is used in statements as it is, and may have a schema. Called
    /// `tableName` in Node.js.
    ///
    /// # Panics
    ///
    /// Panics if the name contains other characters than letters, digits, `_`, `.`, `$` and `"`.
    #[must_use]
    #[track_caller]
    pub fn table_name(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        let is_allowed = |c: char| c.is_alphanumeric() || "_.$\"".contains(c);
        let is_valid = !self.table.is_empty() && self.table.chars().all(is_allowed);
        assert!(is_valid, "`{}` is not the name of a table", self.table);
        self
    }

    /// Sets how often the server deletes rows of the table that are older than this time. Defaults to 30
    /// seconds. Called `cleanupInterval` in Node.js.
    ///
    /// # Panics
    ///
    /// Panics if the interval is zero.
    #[must_use]
    #[track_caller]
    pub fn cleanup_interval(mut self, interval: Duration) -> Self {
        assert!(!interval.is_zero(), "the interval of the cleanup must not be zero");
        self.cleanup_interval = interval;
        self
    }
}

socketio_broker::queue_options!(Postgres, options);
socketio_broker::heartbeat_options!(Postgres, options);

impl Broker for Postgres {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let Self { config, options, prefix, table, cleanup_interval } = self;
        let (peer, queue) = Peer::start(Names { prefix }, inbox.clone(), &options);
        let connector = SenderConnector { config: config.clone(), peer: peer.clone(), table: table.clone() };
        let (shared, max_age) = (peer.shared.clone(), options.max_queued_age);
        tokio::spawn(Writer { connector, shared, inbox, queue, max_age, log: None }.run());
        let (peer_of_listener, watchdog_interval) = (peer.clone(), options.watchdog_interval);
        let listener =
            Listener { config, peer: peer_of_listener, table, cleanup_interval, watchdog_interval };
        tokio::spawn(listener.run());
        Arc::new(HeartbeatBackend::new(peer))
    }
}
