//! The task that keeps the `LISTEN`s and receives notifications.

use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use socketio::cluster::node::{Decoded, Malformed, decode_in};
use socketio_broker::{Backoff, Peer, Subscription, User};
use tokio::time::{Interval, MissedTickBehavior, interval, interval_at, timeout};
use tokio_postgres::{Client, Config, Notification, types::Type};

use crate::{
    connect::{Driver, Notifications, RESPONSE_TIMEOUT, open},
    names::{Names, quoted},
    payload::Reference,
};

/// The maximum number of channels in one command.
const BATCH: usize = 128;
/// The maximum number of attachments that are read at the same time.
const MAX_READS: usize = 64;

pub(crate) struct Listener {
    pub(crate) config: Config,
    pub(crate) peer: Arc<Peer<Names>>,
    pub(crate) table: String,
    pub(crate) cleanup_interval: Duration,
    pub(crate) watchdog_interval: Duration,
}

/// A message, with the namespace of its channel.
type Received = (Arc<str>, Result<Decoded, Malformed>);

/// The connection must be opened again.
struct Lost(&'static str);

/// An open connection.
struct Connection {
    client: Arc<Client>,
    notifications: Notifications,
    driver: Driver,
    /// The channels that the connection listens to, with their users.
    subscribed: HashMap<String, Subscription>,
    /// `true` until all wanted channels were compared with `subscribed`.
    is_new: bool,
    /// The messages after one whose attachment is being read, in the order of their arrival.
    pending: FuturesOrdered<BoxFuture<'static, Result<Received, Lost>>>,
    watchdog: Watchdog,
    cleanups: Interval,
}

/// Checks that the connection receives notifications.
struct Watchdog {
    channel: String,
    ticks: Interval,
    sent: u64,
    /// `true` until the last number was received.
    is_waiting: bool,
}

impl Listener {
    /// Runs until the server leaves the cluster.
    pub(crate) async fn run(self) {
        let shared = self.peer.shared.clone();
        shared.receive_until_left(self.receive_all()).await;
    }

    async fn receive_all(&self) {
        let mut backoff = Backoff::default();
        let mut has_table = false;
        loop {
            match open(&self.config).await {
                Ok(opened) => {
                    if !std::mem::replace(&mut has_table, true) {
                        self.create_table(&opened.client).await;
                    }
                    let mut connection = self.connection(opened.client, opened.notifications, opened.driver);
                    let Lost(reason) = self.receive(&mut connection, &mut backoff).await;
                    self.peer.disconnected(reason);
                }
                Err(error) => self.peer.unreachable(&error),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn connection(&self, client: Client, notifications: Notifications, driver: Driver) -> Connection {
        let mut ticks = interval(self.watchdog_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cleanups =
            interval_at(tokio::time::Instant::now() + self.cleanup_interval, self.cleanup_interval);
        cleanups.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let channel = self.peer.channels.watchdog(self.peer.inbox.server_id());
        Connection {
            client: Arc::new(client),
            notifications,
            driver,
            subscribed: HashMap::new(),
            is_new: true,
            pending: FuturesOrdered::new(),
            watchdog: Watchdog { channel, ticks, sent: 0, is_waiting: false },
            cleanups,
        }
    }

    /// Creates the table of attachments if it does not exist. Several servers may do so at the same time, or
    /// may not be allowed to.
    async fn create_table(&self, client: &Client) {
        let statement = format!(
            "CREATE TABLE IF NOT EXISTS {} \
             (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)",
            self.table
        );
        match timeout(RESPONSE_TIMEOUT, client.batch_execute(&statement)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the table of attachments is not created"),
            Err(error) => tracing::debug!(%error, "the table of attachments is not created"),
        }
    }

    async fn receive(&self, connection: &mut Connection, backoff: &mut Backoff) -> Lost {
        let listen = format!("LISTEN {}", quoted(&connection.watchdog.channel));
        if let Err(lost) = execute(&connection.client, &listen).await {
            return lost;
        }
        loop {
            if let Err(lost) = self.reconcile(connection).await {
                return lost;
            }
            *backoff = Backoff::default();
            let can_read = connection.pending.len() < MAX_READS;
            tokio::select! {
                biased;
                () = self.peer.wanted.changed.notified() => {}
                Some(received) = connection.pending.next() => match received {
                    Ok((namespace, decoded)) => self.peer.receive(&namespace, decoded).await,
                    Err(lost) => return lost,
                },
                notification = connection.notifications.recv(), if can_read => match notification {
                    Some(notification) => self.handle(connection, &notification).await,
                    None => return Lost("the connection was closed"),
                },
                () = connection.driver.lost(), if !can_read => return Lost("the connection was closed"),
                _ = connection.watchdog.ticks.tick() => {
                    if connection.watchdog.is_waiting {
                        return Lost("the watchdog has received nothing");
                    }
                    connection.send_watchdog();
                }
                _ = connection.cleanups.tick() => self.clean_up(connection),
            }
        }
    }

    /// Listens to the wanted channels and to no others.
    async fn reconcile(&self, connection: &mut Connection) -> Result<(), Lost> {
        let mut new: Vec<User> = Vec::new();
        loop {
            let wanted = &self.peer.wanted;
            let is_new = std::mem::take(&mut connection.is_new);
            let (generation, changes) = if is_new { wanted.all() } else { wanted.changes() };
            if changes.is_empty() {
                self.peer.subscribed(generation, &new);
                return Ok(());
            }
            for changes in changes.chunks(BATCH) {
                let mut commands = String::new();
                for (channel, users) in changes {
                    let was_subscribed = connection.subscribed.contains_key(channel);
                    let command = match (was_subscribed, users.is_empty()) {
                        (false, false) => "LISTEN",
                        (true, true) => "UNLISTEN",
                        _ => "",
                    };
                    if !command.is_empty() {
                        // Writing to a string cannot fail.
                        let _ = write!(commands, "{command} {};", quoted(channel));
                    }
                    if users.is_empty() {
                        connection.subscribed.remove(channel);
                    } else {
                        connection.subscribed.insert(channel.clone(), users.clone());
                        new.extend(users.iter().filter(|_| !was_subscribed).cloned());
                    }
                }
                if !commands.is_empty() {
                    execute(&connection.client, &commands).await?;
                }
            }
        }
    }

    async fn handle(&self, connection: &mut Connection, notification: &Notification) {
        let (channel, payload) = (notification.channel(), notification.payload());
        if channel == connection.watchdog.channel {
            connection.watchdog.received(payload);
            return;
        }
        let Some(users) = connection.subscribed.get(channel) else { return };
        for User { namespace, .. } in users.clone() {
            match Reference::parse(payload) {
                Some(reference) if reference.uid == self.peer.inbox.server_id().as_str() => {}
                Some(reference) => {
                    let read = read(connection.client.clone(), self.table.clone(), namespace, reference.row);
                    // A task, because no later response of the connection is received until this one is taken,
                    // also while the listener waits for the response of another command.
                    let read = tokio::spawn(read);
                    connection.pending.push_back(Box::pin(async {
                        read.await.unwrap_or(Err(Lost("an attachment cannot be read")))
                    }));
                }
                None => {
                    let decoded = decode_in(&namespace, payload.as_bytes());
                    if connection.pending.is_empty() {
                        self.peer.receive(&namespace, decoded).await;
                    } else {
                        connection.pending.push_back(Box::pin(async { Ok((namespace, decoded)) }));
                    }
                }
            }
        }
    }

    /// Deletes attachments that all servers have read.
    fn clean_up(&self, connection: &Connection) {
        let client = connection.client.clone();
        let statement = format!(
            "DELETE FROM {} WHERE created_at < now() - interval '{} milliseconds'",
            self.table,
            self.cleanup_interval.as_millis()
        );
        tokio::spawn(async move {
            if let Err(error) = client.batch_execute(&statement).await {
                tracing::debug!(%error, "old attachments are not deleted");
            }
        });
    }
}

impl Connection {
    /// Sends a number to this server itself.
    fn send_watchdog(&mut self) {
        let Watchdog { channel, sent, is_waiting, .. } = &mut self.watchdog;
        *sent += 1;
        *is_waiting = true;
        let (client, channel, number) = (self.client.clone(), channel.clone(), sent.to_string());
        tokio::spawn(async move {
            let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&channel, Type::TEXT), (&number, Type::TEXT)];
            // If the statement fails, the number is not received.
            if let Err(error) = client.execute_typed("SELECT pg_notify($1, $2)", &params).await {
                tracing::debug!(%error, "the watchdog cannot send");
            }
        });
    }
}

impl Watchdog {
    fn received(&mut self, payload: &str) {
        if payload.parse() == Ok(self.sent) {
            self.is_waiting = false;
        }
    }
}

/// Executes commands without results.
async fn execute(client: &Client, commands: &str) -> Result<(), Lost> {
    match timeout(RESPONSE_TIMEOUT, client.batch_execute(commands)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a subscription was refused");
            Err(Lost("a subscription was refused"))
        }
        Err(_) => Err(Lost("Postgres does not respond")),
    }
}

/// Reads a message from the table of attachments.
async fn read(client: Arc<Client>, table: String, namespace: Arc<str>, row: i64) -> Result<Received, Lost> {
    let statement = format!("SELECT payload FROM {table} WHERE id = $1");
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] = [(&row, Type::INT8)];
    let rows = match timeout(RESPONSE_TIMEOUT, client.query_typed(&statement, &params)).await {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) if error.as_db_error().is_some() && !client.is_closed() => {
            tracing::debug!(%error, "an attachment cannot be read");
            Vec::new()
        }
        Ok(Err(_)) => return Err(Lost("the connection was closed")),
        Err(_) => return Err(Lost("Postgres does not respond")),
    };
    let content = rows.first().and_then(|row| row.try_get::<_, &[u8]>(0).ok());
    let decoded = content.ok_or(Malformed).and_then(|content| decode_in(&namespace, content));
    Ok((namespace, decoded))
}
