//! The task that keeps the subscriptions and receives messages.
//!
//! The wanted channels are kept as a set. After each change, and after each new connection, the task
//! subscribes to what is missing and unsubscribes from what is not wanted, one command after the other. So a
//! room that is left and joined again is subscribed in the end.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::try_join_all;
use redis::{
    AsyncConnectionConfig, Client, Cmd, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection,
};
use socketio::cluster::{Inbox, node::Malformed};
use socketio_broker::{Backoff, Shared, Subscription, User, Wanted};
use tokio::{
    sync::{Notify, mpsc},
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    connect::{RESPONSE_TIMEOUT, connect},
    dialect::{Channel, Dialect, publish},
    writer::{CommandConnection, Commands},
};

/// The maximum number and bytes of received messages that are not yet handled. If they are exceeded, the
/// connection is closed, as Redis does with a subscriber that reads too slowly.
const MAX_MESSAGES: usize = 65_536;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The maximum number of subscriptions that are changed at the same time.
const BATCH: usize = 128;

/// Input of the connection.
enum Received {
    Message {
        channel: Channel,
        name: Vec<u8>,
        payload: Vec<u8>,
    },
    /// A subscription has ended: by a command of this server, or by Redis, for example because the slot of the
    /// channel was moved.
    Unsubscribed(Channel),
}

pub(crate) struct Subscriber {
    pub(crate) client: Client,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) wanted: Arc<Wanted<Channel>>,
    /// The connection that the watchdog publishes on.
    pub(crate) commands: CommandConnection,
    pub(crate) watchdog_interval: Duration,
}

/// A channel that messages may arrive on.
struct Active {
    /// After the channel is no longer wanted, its last users. Other servers may have counted this server as a
    /// receiver of a request, which must be answered, until Redis confirms the end of the subscription.
    users: Subscription,
    is_wanted: bool,
    /// The number of confirmations that are not received yet.
    unsubscribing: usize,
}

/// An open connection.
struct Link {
    connection: MultiplexedConnection,
    received: mpsc::Receiver<Received>,
    queued_bytes: Arc<AtomicUsize>,
    lost: Arc<Notify>,
    subscribed: HashMap<Channel, Active>,
    /// `true` until all wanted channels were compared with `subscribed`.
    is_new: bool,
    /// The number that the watchdog has published last and that was not received yet.
    watchdog: Option<u64>,
    sent: u64,
    ticks: Interval,
}

/// The connection must be opened again.
struct Lost(&'static str);

impl Link {
    /// Sets the users of a channel. Returns the command that this requires.
    fn change(&mut self, channel: Channel, users: Subscription) -> Option<Cmd> {
        match self.subscribed.get_mut(&channel) {
            Some(active) if users.is_empty() => {
                let was_wanted = std::mem::take(&mut active.is_wanted);
                active.unsubscribing += usize::from(was_wanted);
                was_wanted.then(|| channel.unsubscribe())
            }
            Some(active) => {
                active.users = users;
                let was_wanted = std::mem::replace(&mut active.is_wanted, true);
                (!was_wanted).then(|| channel.subscribe())
            }
            None if users.is_empty() => None,
            None => {
                // Messages may arrive before the confirmation.
                let command = channel.subscribe();
                self.subscribed.insert(channel, Active { users, is_wanted: true, unsubscribing: 0 });
                Some(command)
            }
        }
    }

    /// Handles the end of a subscription. Returns `true` if Redis has ended it on its own.
    fn unsubscribed(&mut self, channel: &Channel) -> bool {
        let Some(active) = self.subscribed.get_mut(channel) else { return false };
        let is_foreign = active.unsubscribing == 0;
        active.unsubscribing = active.unsubscribing.saturating_sub(1);
        if is_foreign || (active.unsubscribing == 0 && !active.is_wanted) {
            self.subscribed.remove(channel);
        }
        is_foreign
    }
}

impl Subscriber {
    /// Runs until the server leaves the cluster.
    pub(crate) async fn run(self) {
        let shared = self.shared.clone();
        shared.receive_until_left(self.receive_all()).await;
    }

    async fn receive_all(&self) {
        let mut backoff = Backoff::default();
        loop {
            if let Some(mut link) = self.connect().await {
                let Lost(reason) = self.receive(&mut link, &mut backoff).await;
                if self.shared.set_disconnected() {
                    tracing::warn!(reason, "the connection to Redis is lost: other servers are not reached");
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn connect(&self) -> Option<Link> {
        let (sender, received) = mpsc::channel(MAX_MESSAGES);
        let (queued_bytes, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let push = push_sender(sender, queued_bytes.clone(), lost.clone());
        let config =
            AsyncConnectionConfig::new().set_push_sender(push).set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = connect(&self.client, &self.shared, config).await?;
        let mut ticks = interval(self.watchdog_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let subscribed = HashMap::new();
        Some(Link {
            connection,
            received,
            queued_bytes,
            lost,
            subscribed,
            is_new: true,
            watchdog: None,
            sent: 0,
            ticks,
        })
    }

    async fn receive(&self, link: &mut Link, backoff: &mut Backoff) -> Lost {
        let watchdog = self.dialect.watchdog(self.inbox.server_id());
        if let Err(error) = link.connection.send_packed_command(&watchdog.subscribe()).await {
            tracing::debug!(%error, "cannot subscribe");
            return Lost("cannot subscribe");
        }
        loop {
            let generation = match self.reconcile(link).await {
                Ok(generation) => generation,
                Err(lost) => return lost,
            };
            if self.shared.set_subscribed(generation) {
                tracing::info!("connected to the other servers over Redis");
            }
            *backoff = Backoff::default();
            tokio::select! {
                biased;
                () = link.lost.notified() => return Lost("the connection was closed"),
                () = self.wanted.changed.notified() => {}
                received = link.received.recv() => match received {
                    Some(received) => self.handle(link, received, &watchdog).await,
                    None => return Lost("the connection was closed"),
                },
                _ = link.ticks.tick() => {
                    if link.watchdog.is_some() {
                        return Lost("the watchdog has received nothing");
                    }
                    self.send_watchdog(link, &watchdog);
                }
            }
        }
    }

    /// Subscribes to the wanted channels, and unsubscribes from all others. Returns the generation of the
    /// channels.
    async fn reconcile(&self, link: &mut Link) -> Result<u64, Lost> {
        loop {
            let (generation, changes) = self.wanted.changes(link.is_new);
            link.is_new = false;
            if changes.is_empty() {
                return Ok(generation);
            }
            let mut commands = Vec::new();
            for (channel, users) in changes {
                commands.extend(link.change(channel, users));
            }
            for commands in commands.chunks(BATCH) {
                self.execute(link, commands).await?;
            }
        }
    }

    /// Executes the commands in one round trip. Redis executes them in this order.
    async fn execute(&self, link: &mut Link, commands: &[Cmd]) -> Result<(), Lost> {
        let execute = commands.iter().map(|command| {
            let mut connection = link.connection.clone();
            async move { connection.send_packed_command(command).await }
        });
        if let Err(error) = try_join_all(execute).await {
            tracing::debug!(%error, "cannot change a subscription");
            return Err(Lost("a subscription was refused"));
        }
        Ok(())
    }

    async fn handle(&self, link: &mut Link, received: Received, watchdog: &Channel) {
        if let Received::Message { payload, .. } = &received {
            link.queued_bytes.fetch_sub(payload.len(), Ordering::Relaxed);
        }
        match received {
            Received::Message { channel, payload, .. } if channel == *watchdog => {
                if std::str::from_utf8(&payload).ok().and_then(|sent| sent.parse().ok()) == link.watchdog {
                    link.watchdog = None;
                }
            }
            Received::Message { channel, name, payload } => {
                let users = link.subscribed.get(&channel).map_or(&[][..], |active| &active.users);
                for (at, User { namespace, .. }) in users.iter().enumerate() {
                    if users.iter().take(at).any(|user| user.namespace == *namespace) {
                        continue;
                    }
                    match self.dialect.decode(&self.inbox, namespace, &name, &payload) {
                        Ok(Some(inbound)) => drop(self.inbox.send(inbound).await),
                        Ok(None) => {}
                        Err(Malformed) => self.shared.count_malformed(namespace),
                    }
                }
            }
            Received::Unsubscribed(channel) => {
                if link.unsubscribed(&channel) {
                    self.wanted.compare_again(channel);
                }
            }
        }
    }

    /// Publishes a number to this server itself.
    fn send_watchdog(&self, link: &mut Link, channel: &Channel) {
        // Without a connection, nothing is sent to other servers either.
        let Some(Commands { mut connection, lost }) = self.commands.lock().clone() else { return };
        link.sent += 1;
        link.watchdog = Some(link.sent);
        let payload = link.sent.to_string();
        let command = match channel {
            Channel::Plain(name) | Channel::Pattern(name) => publish("PUBLISH", name, payload.as_bytes()),
            Channel::Shard(name) => publish("SPUBLISH", name, payload.as_bytes()),
        };
        tokio::spawn(async move {
            // If the command fails, the number is not received, and the writer cannot send messages either.
            let result: RedisResult<Value> = command.query_async(&mut connection).await;
            if let Err(error) = result {
                tracing::debug!(%error, "the watchdog cannot send");
                lost.notify_one();
            }
        });
    }
}

/// Returns the function that takes the input of the connection. It must not wait.
fn push_sender(
    sender: mpsc::Sender<Received>,
    queued_bytes: Arc<AtomicUsize>,
    lost: Arc<Notify>,
) -> impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static {
    move |PushInfo { kind, data }| {
        if kind == PushKind::Disconnection {
            lost.notify_one();
            return Ok(());
        }
        let Some(received) = received(&kind, data) else { return Ok(()) };
        let len = match &received {
            Received::Message { payload, .. } => payload.len(),
            Received::Unsubscribed(_) => 0,
        };
        let queued = queued_bytes.fetch_add(len, Ordering::Relaxed);
        let is_full = queued > 0 && queued.saturating_add(len) > MAX_BYTES;
        if is_full || sender.try_send(received).is_err() {
            tracing::warn!("messages of other servers arrive faster than they are handled");
            lost.notify_one();
        }
        Ok(())
    }
}

fn received(kind: &PushKind, data: Vec<Value>) -> Option<Received> {
    let mut data = data.into_iter().map(|value| match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    });
    let mut next = || data.next().flatten();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match kind {
        PushKind::Message | PushKind::SMessage => {
            let (name, payload) = (next()?, next()?);
            let channel = match kind {
                PushKind::Message => Channel::Plain(text(&name)),
                _ => Channel::Shard(text(&name)),
            };
            Some(Received::Message { channel, name, payload })
        }
        PushKind::PMessage => {
            let (pattern, name, payload) = (next()?, next()?, next()?);
            Some(Received::Message { channel: Channel::Pattern(text(&pattern)), name, payload })
        }
        PushKind::Unsubscribe => Some(Received::Unsubscribed(Channel::Plain(text(&next()?)))),
        PushKind::PUnsubscribe => Some(Received::Unsubscribed(Channel::Pattern(text(&next()?)))),
        PushKind::SUnsubscribe => Some(Received::Unsubscribed(Channel::Shard(text(&next()?)))),
        _ => None,
    }
}
