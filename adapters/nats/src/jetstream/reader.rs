//! The task that reads the stream.

use std::sync::Arc;

use async_nats::jetstream::{
    Message,
    consumer::{DeliverPolicy, pull::OrderedConfig},
};
use futures::StreamExt as _;
use socketio::cluster::{
    Inbound,
    node::{Decoded, Malformed, decode},
};
use socketio_broker::{Log, Peer, is_logged};
use tokio::sync::watch;

use super::{Error, EventLog, LOGGED, offset};
use crate::{order::Order, publisher::Connected, subjects::Subjects};

pub(crate) struct Reader {
    pub(crate) peer: Arc<Peer<Subjects>>,
    pub(crate) connections: watch::Receiver<Option<Connected>>,
    /// `Some` if clients can be recovered.
    pub(crate) log: Option<Arc<Log>>,
    /// The number of the last message that was read. Kept when the connection is lost, so messages that were added
    /// meanwhile are read.
    pub(crate) last: Option<u64>,
}

impl Reader {
    /// Runs until the server leaves the cluster.
    pub(crate) async fn run(mut self) {
        let shared = self.peer.shared.clone();
        shared.set_reading(false);
        tokio::select! {
            () = self.read_all() => {}
            () = shared.leaving() => {}
        }
    }

    async fn read_all(&mut self) {
        let mut connections = self.connections.clone();
        let mut last = 0;
        loop {
            let is_new = |now: &Option<Connected>| now.as_ref().is_some_and(|now| now.number > last);
            // An error means that the server has left the cluster.
            let Ok(Some(connected)) = connections.wait_for(is_new).await.map(|now| now.clone()) else {
                return;
            };
            last = connected.number;
            let is_other = |now: &Option<Connected>| now.as_ref().is_none_or(|now| now.number != last);
            let Some(log) = &connected.log else { continue };
            tokio::select! {
                Err(error) = self.read(log) => {
                    tracing::warn!(%error, "the stream of the cluster cannot be read");
                    // The listener connects again.
                    connected.lost.notify_one();
                }
                _ = connections.wait_for(is_other) => {}
            }
            self.peer.shared.set_reading(false);
        }
    }

    /// Reads until an error occurs.
    async fn read(&mut self, log: &EventLog) -> Result<(), Error> {
        let start = self.find_start(log).await?;
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start + 1 },
            ..OrderedConfig::default()
        };
        let mut messages = log.stream.create_consumer(config).await?.messages().await?;
        self.peer.shared.set_reading(true);
        while let Some(message) = messages.next().await {
            self.handle(&message?).await?;
        }
        Err("the consumer has ended".into())
    }

    /// Returns the number of the message after which the stream is read. Reading after the last message misses none that
    /// is added later.
    async fn find_start(&mut self, log: &EventLog) -> Result<u64, Error> {
        let state = log.stream.get_info().await?.state;
        let end = state.last_sequence;
        let start = match self.last {
            // The stream may have been deleted, or NATS has lost its last messages.
            Some(last) if end < last => {
                tracing::warn!(last, end, "the last messages of the stream are gone");
                end
            }
            Some(last) => {
                if last + 1 < state.first_sequence {
                    let missed = state.first_sequence - last - 1;
                    tracing::warn!(missed, "the stream no longer has messages that were not read");
                }
                last
            }
            None => end,
        };
        self.last = Some(start);
        Ok(start)
    }

    async fn handle(&mut self, message: &Message) -> Result<(), Error> {
        let info = message.info()?;
        let (sequence, offset) = (info.stream_sequence, offset(info.stream_sequence, info.published));
        let logged = message.headers.as_ref().and_then(|headers| headers.get(LOGGED));
        let inbound = match logged.and_then(|header| Order::parse(header.as_str())) {
            Some(Order { sender, number }) if sender == self.peer.inbox.server_id().as_str() => {
                // `None` means that the message was delivered already.
                let message = self.log.as_ref().and_then(|log| log.take(number));
                message.map(|message| Inbound::Logged(message, Some(offset)))
            }
            _ if !self.peer.wanted.contains(&self.peer.channels.all_of_log(&message.subject)) => None,
            _ => match decode(&message.payload) {
                Ok(Decoded::Message(message)) if message.from == *self.peer.inbox.server_id() => None,
                Ok(Decoded::Message(message)) if self.log.is_some() && is_logged(&message.operation) => {
                    Some(Inbound::Logged(Arc::new(message), Some(offset)))
                }
                Ok(Decoded::Message(message)) => Some(Inbound::Message(Arc::new(message))),
                Ok(_) => None,
                Err(Malformed) => {
                    self.peer.shared.count_malformed(&message.subject);
                    None
                }
            },
        };
        if let Some(inbound) = inbound {
            self.peer.inbox.send(inbound).await;
        }
        self.last = Some(sequence);
        Ok(())
    }
}
