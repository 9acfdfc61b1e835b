//! The task that keeps the connection and the subscriptions, and receives messages.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, ServerAddr, client::RequestErrorKind};
use bytes::Bytes;
use futures::stream::{AbortHandle, Abortable};
use socketio::cluster::node::decode_in;
use socketio_broker::{Backoff, Peer, Subscription, User};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    jetstream::{Error, EventLog, JetStream},
    order::{ROOMS, Subscriptions},
    publisher::{Connected, RESPONSE_TIMEOUT},
    subjects::Subjects,
};

/// The maximum number and bytes of received messages that are not yet handled. If they are exceeded, the
/// connection is closed, as NATS does with a slow consumer.
const MAX_MESSAGES: usize = 65_536;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The maximum number of messages in the queue of one subscription, which is emptied at once.
const SUBSCRIPTION_CAPACITY: usize = 16_384;

pub(crate) struct Listener {
    pub(crate) options: ConnectOptions,
    pub(crate) addresses: Vec<ServerAddr>,
    pub(crate) peer: Arc<Peer<Subjects>>,
    pub(crate) connections: watch::Sender<Option<Connected>>,
    pub(crate) watchdog_interval: Duration,
    pub(crate) jetstream: Option<JetStream>,
}

/// The connection must be opened again.
struct Lost(&'static str);

/// An open connection.
struct Connection {
    client: Client,
    lost: Arc<Notify>,
    added: mpsc::Sender<Abortable<async_nats::Subscriber>>,
    received: mpsc::Receiver<Message>,
    queued_bytes: Arc<AtomicUsize>,
    /// Moves messages from the subscriptions to `received`.
    collector: JoinHandle<()>,
    subscribed: HashMap<String, Active>,
    /// `true` until all wanted channels were compared with `subscribed`.
    is_new: bool,
    ticks: Interval,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.collector.abort();
    }
}

/// A subject that the connection is subscribed to.
struct Active {
    users: Subscription,
    subscription: AbortHandle,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.subscription.abort();
    }
}

impl Listener {
    /// Runs until the server leaves the cluster.
    pub(crate) async fn run(self) {
        let shared = self.peer.shared.clone();
        shared.receive_until_left(self.receive_all()).await;
    }

    async fn receive_all(&self) {
        let mut backoff = Backoff::default();
        for number in 1.. {
            let lost = Arc::new(Notify::new());
            match self.connect(lost.clone()).await {
                Ok((client, log)) => {
                    let mut connection = self.connection(client.clone(), lost.clone());
                    self.connections.send_replace(Some(Connected { client, number, lost, log }));
                    let Lost(reason) = self.receive(&mut connection, &mut backoff).await;
                    self.connections.send_replace(None);
                    self.peer.disconnected(reason);
                }
                Err(error) => self.peer.unreachable(&error),
            }
            sleep(backoff.next_delay()).await;
        }
    }

    /// Opens a connection. If it is lost, `lost` is notified, and this task opens another one.
    async fn connect(&self, lost: Arc<Notify>) -> Result<(Client, Option<EventLog>), Error> {
        let notified = move |event: Event| {
            match event {
                Event::Disconnected | Event::Closed => lost.notify_one(),
                Event::SlowConsumer(_) => {
                    tracing::warn!("messages of other servers arrive faster than they are handled");
                    lost.notify_one();
                }
                event => tracing::debug!(%event, "an event of the connection to NATS"),
            }
            std::future::ready(())
        };
        let options = self.options.clone().event_callback(notified);
        // Each attempt tries one address.
        let options = options
            .max_reconnects(self.addresses.len())
            .no_echo()
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .connection_timeout(RESPONSE_TIMEOUT)
            .request_timeout(Some(RESPONSE_TIMEOUT));
        let client = timeout(RESPONSE_TIMEOUT, Box::pin(options.connect(self.addresses.clone()))).await??;
        let log = match &self.jetstream {
            Some(jetstream) => Some(Box::pin(jetstream.open(&client, &self.peer.channels)).await?),
            None => None,
        };
        Ok((client, log))
    }

    fn connection(&self, client: Client, lost: Arc<Notify>) -> Connection {
        let (added, new) = mpsc::channel(64);
        let (sender, received) = mpsc::channel(MAX_MESSAGES);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let collect = collect(Subscriptions::new(new), sender, queued_bytes.clone(), lost.clone());
        let mut ticks = interval(self.watchdog_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Connection {
            client,
            lost,
            added,
            received,
            queued_bytes,
            collector: tokio::spawn(collect),
            subscribed: HashMap::new(),
            is_new: true,
            ticks,
        }
    }

    async fn receive(&self, connection: &mut Connection, backoff: &mut Backoff) -> Lost {
        let mut watchdog: Option<JoinHandle<Result<(), Lost>>> = None;
        loop {
            let reconciled = tokio::select! {
                biased;
                () = connection.lost.clone().notified_owned() => return Lost("the connection was closed"),
                reconciled = self.reconcile(connection) => reconciled,
            };
            if let Err(lost) = reconciled {
                return lost;
            }
            *backoff = Backoff::default();
            tokio::select! {
                biased;
                () = connection.lost.notified() => return Lost("the connection was closed"),
                () = self.peer.wanted.changed.notified() => {}
                message = connection.received.recv() => match message {
                    Some(message) => self.handle(connection, message).await,
                    None => return Lost("the connection was closed"),
                },
                _ = connection.ticks.tick() => {
                    if let Some(last) = watchdog.take()
                        && !(last.is_finished() && matches!(last.await, Ok(Ok(()))))
                    {
                        return Lost("the watchdog has received nothing");
                    }
                    let (client, nobody) = (connection.client.clone(), self.nobody());
                    watchdog = Some(tokio::spawn(async move { round_trip(&client, nobody).await }));
                }
            }
        }
    }

    fn nobody(&self) -> String {
        self.peer.channels.nobody(self.peer.inbox.server_id())
    }

    /// Subscribes to the wanted subjects, and unsubscribes from all others.
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
            for (subject, users) in changes {
                if users.is_empty() {
                    connection.subscribed.remove(&subject);
                } else if let Some(active) = connection.subscribed.get_mut(&subject) {
                    active.users = users;
                } else {
                    new.extend(users.iter().cloned());
                    connection.subscribe(subject, users).await?;
                }
            }
            // NATS handles the commands of a connection in order.
            round_trip(&connection.client, self.nobody()).await?;
        }
    }

    async fn handle(&self, connection: &Connection, message: Message) {
        connection.queued_bytes.fetch_sub(message.payload.len(), Ordering::Relaxed);
        let Message { subject, payload, headers, .. } = message;
        let Some(active) = connection.subscribed.get(subject.as_str()) else { return };
        for User { namespace, .. } in &active.users {
            if self.concerns(namespace, headers.as_ref()) {
                self.peer.receive(namespace, decode_in(namespace, &payload)).await;
            }
        }
    }

    /// Returns `false` if the message is for rooms that have no sockets here.
    fn concerns(&self, namespace: &str, headers: Option<&HeaderMap>) -> bool {
        let Some(rooms) = headers.and_then(|headers| headers.get(ROOMS)) else { return true };
        let Some(prefix) = self.peer.channels.room(namespace, "").strip_suffix('n').map(str::to_owned) else {
            return true;
        };
        rooms.as_str().split(' ').any(|room| self.peer.wanted.contains(&format!("{prefix}{room}")))
    }
}

impl Connection {
    async fn subscribe(&mut self, subject: String, users: Subscription) -> Result<(), Lost> {
        let result = timeout(RESPONSE_TIMEOUT, self.client.subscribe(subject.clone())).await;
        let Ok(Ok(messages)) = result else { return Err(Lost("a subscription was refused")) };
        let (messages, subscription) = futures::stream::abortable(messages);
        if self.added.send(messages).await.is_err() {
            return Err(Lost("the connection was closed"));
        }
        self.subscribed.insert(subject, Active { users, subscription });
        Ok(())
    }
}

/// Moves messages from the subscriptions to one queue.
async fn collect(
    mut subscriptions: Subscriptions,
    received: mpsc::Sender<Message>,
    queued_bytes: Arc<AtomicUsize>,
    lost: Arc<Notify>,
) {
    while let Some(messages) = subscriptions.next().await {
        for message in messages {
            let len = message.payload.len();
            let before = queued_bytes.fetch_add(len, Ordering::Relaxed);
            let is_full = before > 0 && before.saturating_add(len) > MAX_BYTES;
            if is_full || received.try_send(message).is_err() {
                tracing::warn!("messages of other servers arrive faster than they are handled");
                lost.notify_one();
                return;
            }
        }
    }
}

/// Waits until NATS has handled all commands that were sent before. It responds at once to a request that nobody
/// is subscribed to.
async fn round_trip(client: &Client, subject: String) -> Result<(), Lost> {
    match timeout(RESPONSE_TIMEOUT, client.request(subject, Bytes::new())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "NATS does not respond");
            Err(Lost("NATS does not respond"))
        }
        Err(_) => Err(Lost("NATS does not respond")),
    }
}
