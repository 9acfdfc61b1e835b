//! Sends messages as notifications.

use std::{collections::HashSet, sync::Arc};

use futures::future::try_join_all;
use socketio_broker::{Backoff, Connector, Link, Lost, Outgoing, Peer};
use tokio::time::{sleep, timeout};
use tokio_postgres::{
    Client, Config, Error,
    types::{ToSql, Type},
};

use crate::{
    connect::{Driver, RESPONSE_TIMEOUT, open},
    names::Names,
    payload::{HEADER_END, Payload},
};

type Param<'a> = (&'a (dyn ToSql + Sync), Type);

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

/// A statement of its own transaction.
enum Statement {
    Notify(Batch),
    Attach { channel: String, content: Vec<u8>, header: String },
}

impl Link for Sender {
    async fn send(&mut self, messages: &[Outgoing]) -> Result<(), Lost> {
        let statements = self.statements(messages);
        // The statements are sent in this order without waiting for the results of those before.
        let executing = try_join_all(statements.iter().map(|statement| self.execute(statement)));
        if let Ok(executed) = timeout(RESPONSE_TIMEOUT, executing).await {
            return executed.map(drop);
        }
        tracing::debug!("Postgres does not respond");
        Err(Lost)
    }

    async fn lost(&mut self) {
        self.driver.lost().await;
    }
}

impl Sender {
    fn statements(&self, messages: &[Outgoing]) -> Vec<Statement> {
        let (mut statements, mut batch) = (Vec::new(), Batch::default());
        for message in messages {
            let channel = self.peer.channels.channel(message.namespace());
            for encoded in message.encode() {
                match Payload::new(self.peer.inbox.server_id(), message.namespace(), &encoded) {
                    Some(Payload::Text(text)) if batch.add(&channel, &text) => {}
                    Some(Payload::Text(text)) => {
                        statements.push(Statement::Notify(std::mem::take(&mut batch)));
                        batch.add(&channel, &text);
                    }
                    Some(Payload::Attachment { content, header }) => {
                        statements.push(Statement::Notify(std::mem::take(&mut batch)));
                        statements.push(Statement::Attach { channel: channel.clone(), content, header });
                    }
                    None => {
                        self.peer.shared.count_dropped(1);
                        tracing::warn!("a message to other servers cannot be encoded");
                    }
                }
            }
        }
        statements.push(Statement::Notify(batch));
        statements
    }

    async fn execute(&self, statement: &Statement) -> Result<(), Lost> {
        match statement {
            Statement::Notify(Batch { channels, .. }) if channels.is_empty() => Ok(()),
            Statement::Notify(Batch { channels, payloads, .. }) => {
                // Notifications of a transaction are delivered in the order of the calls.
                let text = "SELECT pg_notify(t.channel, t.payload) \
                            FROM unnest($1::text[], $2::text[]) AS t(channel, payload)";
                let params: [Param<'_>; 2] = [(channels, Type::TEXT_ARRAY), (payloads, Type::TEXT_ARRAY)];
                self.executed(self.client.execute_typed(text, &params).await, channels.len())
            }
            Statement::Attach { channel, content, header } => {
                let text = format!(
                    "WITH saved AS (INSERT INTO {} (payload) VALUES ($1) RETURNING id) \
                     SELECT pg_notify($2, $3 || saved.id || $4) FROM saved",
                    self.table
                );
                let params: [Param<'_>; 4] = [
                    (content, Type::BYTEA),
                    (channel, Type::TEXT),
                    (header, Type::TEXT),
                    (&HEADER_END, Type::TEXT),
                ];
                self.executed(self.client.execute_typed(&text, &params).await, 1)
            }
        }
    }

    /// Handles the result of a statement. If Postgres refuses it, its messages are dropped.
    fn executed(&self, result: Result<u64, Error>, messages: usize) -> Result<(), Lost> {
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.as_db_error().is_some() && !self.client.is_closed() => {
                self.peer.shared.count_dropped(messages);
                tracing::warn!(error = %detail(&error), messages, "Postgres refuses messages to other servers");
                Ok(())
            }
            Err(error) => {
                tracing::debug!(error = %detail(&error), "a notification cannot be sent");
                Err(Lost)
            }
        }
    }
}

/// Returns the description of an error. Its `Display` leaves out what Postgres says.
fn detail(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}
