#![doc = include_str!("../README.md")]
// docs.rs names the cargo feature of each item.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod listener;
mod order;
mod publisher;
mod subjects;

use std::{io, sync::Arc};

use async_nats::{ConnectOptions, ServerAddr};
use socketio::cluster::{Backend, Broker, Inbox};
use socketio_broker::{HeartbeatBackend, Options, Peer, Writer};
use tokio::sync::watch;

use crate::{
    listener::Listener,
    publisher::{PublisherConnector, State},
    subjects::Subjects,
};

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
}

socketio_broker::queue_options!(Nats, options);
socketio_broker::heartbeat_options!(Nats, options);

impl Broker for Nats {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let Self { addresses, connect_options, options, prefix } = self;
        let (peer, queue) = Peer::start(Subjects { prefix }, inbox.clone(), &options);
        let connections = watch::Sender::new(None);
        let connector = PublisherConnector {
            peer: peer.clone(),
            connections: connections.subscribe(),
            last: 0,
            state: Arc::new(State::default()),
        };
        let (shared, max_age) = (peer.shared.clone(), options.max_queued_age);
        tokio::spawn(Writer { connector, shared, inbox, queue, max_age }.run());
        let listener = Listener {
            options: connect_options,
            addresses,
            peer: peer.clone(),
            connections,
            watchdog_interval: options.watchdog_interval,
        };
        tokio::spawn(listener.run());
        Arc::new(HeartbeatBackend::new(peer))
    }
}
