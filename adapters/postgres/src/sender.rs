//! Sends messages as notifications.

use std::{collections::HashSet, future::Future, sync::Arc};

use socketio_broker::{Backoff, Connector, Link, Lost, Outgoing, Peer};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Config, Error, types::Type};

use crate::{
    connect::{Driver, RESPONSE_TIMEOUT, open},
    names::Names,
    payload::{HEADER_END, Payload},
};

/// Opens the connection that messages are sent on.
pub(crate) struct SenderConnector {
    pub(crate) config: Config,
    pub(crate) peer: Arc<Peer<Names>>,
    pub(crate) table: String,
}

impl Connector for SenderConnector {
    type Link = Sender;

    async fn connect(&mut self) -> Sender {
        let mut backoff = Backoff::default();
        loop {
            match open(&self.config).await {
                Ok(opened) => {
                    let (peer, table) = (self.peer.clone(), self.table.clone());
                    return Sender { client: opened.client, driver: opened.driver, peer, table };
                }
                Err(error) => self.peer.unreachable(&error),
            }
            sleep(backoff.next_delay()).await;
        }
    }
}

/// The connection that messages are sent on.
pub(crate) struct Sender {
    client: Client,
    driver: Driver,
    peer: Arc<Peer<Names>>,
    table: String,
}

/// Notifications that are sent in one transaction.
#[derive(Default)]
struct Batch {
    channels: Vec<String>,
    payloads: Vec<String>,
    /// Postgres delivers equal notifications of a transaction once.
    distinct: HashSet<(String, String)>,
}

impl Batch {
    /// Adds a notification. Returns `false` if the batch has it already.
    fn add(&mut self, channel: &str, payload: &str) -> bool {
        let is_new = self.distinct.insert((channel.to_owned(), payload.to_owned()));
        if is_new {
            self.channels.push(channel.to_owned());
            self.payloads.push(payload.to_owned());
        }
        is_new
    }
}

impl Link for Sender {
    async fn send(&mut self, messages: &[Outgoing]) -> Result<(), Lost> {
        let mut batch = Batch::default();
        for message in messages {
            let channel = self.peer.channels.channel(message.namespace());
            for encoded in message.encode() {
                match Payload::new(self.peer.inbox.server_id(), message.namespace(), &encoded) {
                    Some(Payload::Text(text)) if batch.add(&channel, &text) => {}
                    Some(Payload::Text(text)) => {
                        self.notify(std::mem::take(&mut batch)).await?;
                        batch.add(&channel, &text);
                    }
                    Some(Payload::Attachment { content, header }) => {
                        self.notify(std::mem::take(&mut batch)).await?;
                        self.attach(&channel, &content, &header).await?;
                    }
                    None => {
                        self.peer.shared.count_dropped(1);
                        tracing::warn!("a message to other servers cannot be encoded");
                    }
                }
            }
        }
        self.notify(batch).await
    }

    async fn lost(&mut self) {
        self.driver.lost().await;
    }
}

impl Sender {
    async fn notify(&self, batch: Batch) -> Result<(), Lost> {
        let Batch { channels, payloads, .. } = batch;
        if channels.is_empty() {
            return Ok(());
        }
        // Notifications of a transaction are delivered in the order of the calls.
        let statement = "SELECT pg_notify(t.channel, t.payload) \
                         FROM unnest($1::text[], $2::text[]) AS t(channel, payload)";
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&channels, Type::TEXT_ARRAY), (&payloads, Type::TEXT_ARRAY)];
        self.executed(self.client.execute_typed(statement, &params), channels.len()).await
    }

    async fn attach(&self, channel: &str, content: &[u8], header: &str) -> Result<(), Lost> {
        let statement = format!(
            "WITH saved AS (INSERT INTO {} (payload) VALUES ($1) RETURNING id) \
             SELECT pg_notify($2, $3 || saved.id || $4) FROM saved",
            self.table
        );
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
            (&content, Type::BYTEA),
            (&channel, Type::TEXT),
            (&header, Type::TEXT),
            (&HEADER_END, Type::TEXT),
        ];
        self.executed(self.client.execute_typed(&statement, &params), 1).await
    }

    /// Waits for the result of a statement. If Postgres refuses it, its messages are dropped.
    async fn executed(
        &self,
        statement: impl Future<Output = Result<u64, Error>>,
        messages: usize,
    ) -> Result<(), Lost> {
        match timeout(RESPONSE_TIMEOUT, statement).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.as_db_error().is_some() && !self.client.is_closed() => {
                self.peer.shared.count_dropped(messages);
                tracing::warn!(error = %detail(&error), messages, "Postgres refuses messages to other servers");
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::debug!(error = %detail(&error), "a notification cannot be sent");
                Err(Lost)
            }
            Err(_) => {
                tracing::debug!("Postgres does not respond");
                Err(Lost)
            }
        }
    }
}

/// Returns the description of an error. Its `Display` leaves out what Postgres says.
fn detail(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}
