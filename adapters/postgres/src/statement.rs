//! The statements that send messages.

use std::collections::HashSet;

use tokio_postgres::{
    Client, Error,
    error::Severity,
    types::{ToSql, Type},
};

use crate::payload::{HEADER_END, Payload};

type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Notifications that are sent in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    channels: Vec<String>,
    payloads: Vec<String>,
    /// Postgres delivers equal notifications of a transaction once.
    distinct: HashSet<(String, String)>,
}

impl Batch {
    /// Adds a notification. Returns `false` if the batch has it already.
    pub(crate) fn add(&mut self, channel: &str, payload: &str) -> bool {
        let is_new = self.distinct.insert((channel.to_owned(), payload.to_owned()));
        if is_new {
            self.channels.push(channel.to_owned());
            self.payloads.push(payload.to_owned());
        }
        is_new
    }
}

/// A statement of its own transaction.
#[derive(Debug)]
pub(crate) enum Statement {
    Notify(Batch),
    Attach { channel: String, content: Vec<u8>, header: String },
}

impl Statement {
    /// Returns the statement that sends a single message.
    pub(crate) fn new(channel: String, payload: Payload) -> Self {
        match payload {
            Payload::Text(text) => {
                let mut batch = Batch::default();
                batch.add(&channel, &text);
                Self::Notify(batch)
            }
            Payload::Attachment { content, header } => Self::Attach { channel, content, header },
        }
    }

    /// Returns the number of messages.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Notify(batch) => batch.channels.len(),
            Self::Attach { .. } => 1,
        }
    }

    /// Executes the statement. `table` is that of the attachments.
    pub(crate) async fn execute(&self, client: &Client, table: &str) -> Result<(), Error> {
        match self {
            Self::Notify(Batch { channels, .. }) if channels.is_empty() => Ok(()),
            Self::Notify(Batch { channels, payloads, .. }) => {
                // Notifications of a transaction are delivered in the order of the calls.
                let text = "SELECT pg_notify(t.channel, t.payload) \
                            FROM unnest($1::text[], $2::text[]) AS t(channel, payload)";
                let params: [Param<'_>; 2] = [(channels, Type::TEXT_ARRAY), (payloads, Type::TEXT_ARRAY)];
                client.execute_typed(text, &params).await.map(drop)
            }
            Self::Attach { channel, content, header } => {
                let text = format!(
                    "WITH saved AS (INSERT INTO {table} (payload) VALUES ($1) RETURNING id) \
                     SELECT pg_notify($2, $3 || saved.id || $4) FROM saved"
                );
                let params: [Param<'_>; 4] = [
                    (content, Type::BYTEA),
                    (channel, Type::TEXT),
                    (header, Type::TEXT),
                    (&HEADER_END, Type::TEXT),
                ];
                client.execute_typed(&text, &params).await.map(drop)
            }
        }
    }
}

/// Returns `true` if Postgres has refused a statement, so that its messages are not sent, and the connection is
/// still open.
pub(crate) fn is_refusal(error: &Error, client: &Client) -> bool {
    let ends_connection = |severity| matches!(severity, Some(Severity::Fatal | Severity::Panic));
    error.as_db_error().is_some_and(|error| !ends_connection(error.parsed_severity())) && !client.is_closed()
}
