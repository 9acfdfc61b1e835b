#![doc = include_str!("../README.md")]
// docs.rs names the cargo feature of each item.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod jetstream;
mod listener;
mod order;
mod publisher;
mod subjects;

use std::{io, sync::Arc};

use async_nats::{ConnectOptions, ServerAddr};
use socketio::cluster::{Backend, Broker, Inbox};
use socketio_broker::{HeartbeatBackend, Log, Options, Peer, Writer};
use tokio::sync::watch;

use crate::{
    jetstream::{Reader, Store},
    listener::Listener,
    publisher::{PublisherConnector, State},
    subjects::Subjects,
};

pub use jetstream::JetStream;

/// The client for NATS, whose options [`Nats::connect_options`] takes.
pub use async_nats;

/// The adapter that publishes on subjects of NATS. A server receives the broadcasts to a room only if it has sockets
/// in the room.
#[derive(Debug, Clone)]
pub struct Nats {
    addresses: Vec<ServerAddr>,
    connect_options: ConnectOptions,
    options: Options,
    prefix: String,
    jetstream: Option<JetStream>,
}

impl Nats {
    /// Creates an adapter for a NATS URL, such as `nats://user:password@127.0.0.1:4222`, or for several ones of the
    /// servers of a cluster, separated by commas.
    ///
    /// # Errors
    ///
    /// Returns an error if a URL is invalid. Does not connect.
    pub fn new(urls: &str) -> io::Result<Self> {
        let addresses = urls.split(',').map(|url| url.trim().parse()).collect::<io::Result<_>>()?;
        Ok(Self {
            addresses,
            connect_options: ConnectOptions::new(),
            options: Options::default(),
            prefix: "socket.io".to_owned(),
            jetstream: None,
        })
    }

    /// Sets the options of the connection, such as credentials and certificates. The adapter replaces some of
    /// them: the event callback, the timeouts, and those of reconnection.
    #[must_use]
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.connect_options = options;
        self
    }

    /// Sets the prefix of the subjects. Defaults to `socket.io`.
    ///
    /// # Panics
    ///
    /// Panics if the prefix is not a subject without wildcards.
    #[must_use]
    #[track_caller]
    pub fn subject_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        let is_token = |token: &str| {
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>$".contains(&byte))
        };
        let is_valid = self.prefix.split('.').all(is_token);
        assert!(is_valid, "`{}` is not a subject", self.prefix);
        self
    }

    /// Appends broadcasts to a stream of JetStream, which all servers read. With
    /// [connection state recovery](socketio::ServerConfig::connection_state_recovery), a client can then be recovered by
    /// any server. A server also reads the broadcasts that were added while it was not connected to NATS. Must be the
    /// same on all servers. By default, there is no stream, and a server receives the broadcasts to a room only if it
    /// has sockets in the room.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use socketio_nats::{JetStream, Nats};
    ///
    /// let nats = Nats::new("nats://127.0.0.1:4222")?.jetstream(JetStream::default().max_messages(100_000));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn jetstream(mut self, options: JetStream) -> Self {
        self.jetstream = Some(options);
        self
    }
}

socketio_broker::queue_options!(Nats, options);
socketio_broker::heartbeat_options!(Nats, options);

impl Broker for Nats {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let Self { addresses, connect_options, options, prefix, jetstream } = self;
        let subjects = Subjects { prefix, has_rooms: jetstream.is_none() };
        let (peer, queue) = Peer::start(subjects, inbox.clone(), &options);
        let shared = peer.shared.clone();
        let connections = watch::Sender::new(None);
        let is_recoverable = jetstream.is_some() && inbox.wants_recovery();
        let log = is_recoverable.then(|| Arc::new(Log::new(shared.clone())));
        if jetstream.is_some() {
            let (peer, connections, log) = (peer.clone(), connections.subscribe(), log.clone());
            tokio::spawn(Reader { peer, connections, log, last: None }.run());
        }
        let connector = PublisherConnector {
            peer: peer.clone(),
            connections: connections.subscribe(),
            last: 0,
            state: Arc::new(State::new(log.clone())),
        };
        let store = Store { peer: peer.clone(), connections: connections.subscribe() };
        tokio::spawn(Writer { connector, shared, inbox, queue, max_age: options.max_queued_age, log }.run());
        let listener = Listener {
            options: connect_options,
            addresses,
            peer: peer.clone(),
            connections,
            watchdog_interval: options.watchdog_interval,
            jetstream,
        };
        tokio::spawn(listener.run());
        let backend = HeartbeatBackend::new(peer);
        if is_recoverable { Arc::new(backend.with_recovery(Arc::new(store))) } else { Arc::new(backend) }
    }
}
