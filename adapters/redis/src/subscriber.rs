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

use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use socketio::cluster::{Inbox, node::Malformed};
use tokio::{
    sync::{Notify, mpsc},
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use crate::{
    backoff::Backoff,
    dialect::{Channel, Dialect, publish},
    queue::Shared,
    writer::{CommandConnection, RESPONSE_TIMEOUT},
};

/// The maximum number and bytes of received messages that are not yet handled. If they are exceeded, the
/// connection is closed, as Redis does with a subscriber that reads too slowly.
const MAX_MESSAGES: usize = 65_536;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The wanted channels, with their namespaces.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    channels: Mutex<Channels>,
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct Channels {
    all: HashMap<Channel, Subscription>,
    /// The number of changes.
    generation: u64,
}

#[derive(Debug, Clone)]
struct Subscription {
    namespace: Arc<str>,
    /// The number of namespaces with the same path. A child namespace may be created again before the former
    /// one is dropped.
    references: usize,
}

impl Wanted {
    pub(crate) fn add(&self, namespace: &str, channels: Vec<Channel>) {
        let namespace: Arc<str> = namespace.into();
        self.change(|wanted| {
            for channel in channels {
                let new = || Subscription { namespace: namespace.clone(), references: 0 };
                wanted.entry(channel).or_insert_with(new).references += 1;
            }
        });
    }

    pub(crate) fn remove(&self, channels: Vec<Channel>) {
        self.change(|wanted| {
            for channel in channels {
                if let Some(subscription) = wanted.get_mut(&channel) {
                    subscription.references -= 1;
                    if subscription.references == 0 {
                        wanted.remove(&channel);
                    }
                }
            }
        });
    }

    /// Adds or removes the channel of a room.
    pub(crate) fn set(&self, namespace: &str, channel: &Channel, is_wanted: impl Fn() -> bool) {
        let mut wants = is_wanted();
        loop {
            self.change(|wanted| {
                if wants {
                    let new = || Subscription { namespace: namespace.into(), references: 1 };
                    wanted.entry(channel.clone()).or_insert_with(new);
                } else {
                    wanted.remove(channel);
                }
            });
            // `is_wanted` must not be called under the lock, so another thread may have set an older value.
            let wants_now = is_wanted();
            if wants_now == wants {
                return;
            }
            wants = wants_now;
        }
    }

    /// Returns the channels to subscribe to, and without subscription, those to unsubscribe from.
    fn changes(&self, subscribed: &HashMap<Channel, Subscription>) -> Vec<(Channel, Option<Subscription>)> {
        let wanted = &self.channels.lock().all;
        let surplus = subscribed.keys().filter(|channel| !wanted.contains_key(channel));
        let missing = wanted.iter().filter(|(channel, _)| !subscribed.contains_key(channel));
        surplus
            .map(|channel| (channel.clone(), None))
            .chain(missing.map(|(channel, wanted)| (channel.clone(), Some(wanted.clone()))))
            .collect()
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<Channel, Subscription>)) {
        let mut channels = self.channels.lock();
        change(&mut channels.all);
        channels.generation += 1;
        drop(channels);
        self.changed.notify_one();
    }

    /// Returns the number of changes of the set.
    pub(crate) fn generation(&self) -> u64 {
        self.channels.lock().generation
    }
}

/// Input of the connection.
enum Received {
    Message {
        channel: Channel,
        name: Vec<u8>,
        payload: Vec<u8>,
    },
    /// Redis has ended a subscription, for example because the slot of the channel was moved.
    Unsubscribed(Channel),
}

pub(crate) struct Subscriber {
    pub(crate) client: Client,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) wanted: Arc<Wanted>,
    /// The connection that the watchdog publishes on.
    pub(crate) commands: CommandConnection,
    pub(crate) watchdog_interval: Duration,
}

/// An open connection.
struct Link {
    connection: MultiplexedConnection,
    received: mpsc::Receiver<Received>,
    queued_bytes: Arc<AtomicUsize>,
    lost: Arc<Notify>,
    subscribed: HashMap<Channel, Subscription>,
    /// The generation of the wanted channels that `subscribed` was last compared with.
    generation: Option<u64>,
    /// The number that the watchdog has published last and that was not received yet.
    watchdog: Option<u64>,
    sent: u64,
    ticks: Interval,
}

/// The connection must be opened again.
struct Lost(&'static str);

impl Subscriber {
    /// Runs until the server leaves the cluster.
    pub(crate) async fn run(self) {
        let shared = self.shared.clone();
        tokio::select! {
            () = self.receive_all() => {}
            () = shared.leaving() => {}
        }
        shared.subscribed.send_replace(None);
    }

    async fn receive_all(&self) {
        let mut backoff = Backoff::default();
        loop {
            if let Some(mut link) = self.connect().await {
                let Lost(reason) = self.receive(&mut link, &mut backoff).await;
                if self.shared.subscribed.send_replace(None).is_some() {
                    self.shared.disconnections.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(reason, "the connection to Redis is lost: other servers are not reached");
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn connect(&self) -> Option<Link> {
        let (sender, received) = mpsc::channel(MAX_MESSAGES);
        let (queued_bytes, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let push = push_sender(sender, queued_bytes.clone(), lost.clone());
        let config = AsyncConnectionConfig::new()
            .set_push_sender(push)
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = match timeout(RESPONSE_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::debug!(%error, "cannot connect to Redis");
                return None;
            }
            Err(_) => return None,
        };
        let mut ticks = interval(self.watchdog_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let subscribed = HashMap::new();
        Some(Link {
            connection,
            received,
            queued_bytes,
            lost,
            subscribed,
            generation: None,
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
            let is_news = *self.shared.subscribed.borrow() != Some(generation);
            if is_news && self.shared.subscribed.send_replace(Some(generation)).is_none() {
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
            let generation = self.wanted.generation();
            if link.generation == Some(generation) {
                return Ok(generation);
            }
            let changes = self.wanted.changes(&link.subscribed);
            if changes.is_empty() {
                link.generation = Some(generation);
                return Ok(generation);
            }
            for (channel, subscription) in changes {
                let command = match &subscription {
                    Some(_) => channel.subscribe(),
                    None => channel.unsubscribe(),
                };
                // Messages may arrive before the confirmation.
                match subscription {
                    Some(subscription) => drop(link.subscribed.insert(channel, subscription)),
                    None => drop(link.subscribed.remove(&channel)),
                }
                if let Err(error) = link.connection.send_packed_command(&command).await {
                    tracing::debug!(%error, "cannot change a subscription");
                    return Err(Lost("a subscription was refused"));
                }
            }
        }
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
                let Some(subscription) = link.subscribed.get(&channel) else { return };
                match self.dialect.decode(&self.inbox, &subscription.namespace, &name, &payload) {
                    Ok(Some(inbound)) => drop(self.inbox.send(inbound).await),
                    Ok(None) => {}
                    Err(Malformed) => self.shared.count_malformed(&subscription.namespace),
                }
            }
            Received::Unsubscribed(channel) => {
                link.subscribed.remove(&channel);
                link.generation = None;
            }
        }
    }

    /// Publishes a number to this server itself.
    fn send_watchdog(&self, link: &mut Link, channel: &Channel) {
        // Without a connection, nothing is sent to other servers either.
        let Some(mut connection) = self.commands.lock().clone() else { return };
        link.sent += 1;
        link.watchdog = Some(link.sent);
        let payload = link.sent.to_string();
        let command = match channel {
            Channel::Plain(name) | Channel::Pattern(name) => publish("PUBLISH", name, payload.as_bytes()),
            Channel::Shard(name) => publish("SPUBLISH", name, payload.as_bytes()),
        };
        tokio::spawn(async move {
            // If the command fails, the number is not received.
            let _: redis::RedisResult<Value> = command.query_async(&mut connection).await;
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
        PushKind::SUnsubscribe => Some(Received::Unsubscribed(Channel::Shard(text(&next()?)))),
        _ => None,
    }
}
