//! Sends messages as notifications.

use std::sync::Arc;

use futures::future::try_join_all;
use socketio_broker::{Backoff, Connector, Link, Lost, Outgoing, Peer};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Config, Error};

use crate::{
    connect::{Driver, RESPONSE_TIMEOUT, open},
    names::Names,
    payload::Payload,
    statement::{Batch, Statement, is_refusal},
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

    /// Executes a statement. If Postgres refuses it, its messages are dropped.
    async fn execute(&self, statement: &Statement) -> Result<(), Lost> {
        let Err(error) = statement.execute(&self.client, &self.table).await else { return Ok(()) };
        if is_refusal(&error, &self.client) {
            let messages = statement.len();
            self.peer.shared.count_dropped(messages);
            tracing::warn!(error = %detail(&error), messages, "Postgres refuses messages to other servers");
            return Ok(());
        }
        tracing::debug!(error = %detail(&error), "a notification cannot be sent");
        Err(Lost)
    }
}

/// Returns the description of an error. Its `Display` leaves out what Postgres says.
fn detail(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}
