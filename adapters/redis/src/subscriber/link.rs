//! A connection with subscriptions.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::join_all;
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Cmd, PushInfo, PushKind, RedisError, Value,
    aio::{MultiplexedConnection, SendError},
};
use socketio_broker::Subscription;
use tokio::sync::mpsc;

use crate::{
    dialect::Channel,
    nodes::{Lost, Node, Nodes, RESPONSE_TIMEOUT, is_lost},
};

/// The maximum number and bytes of received messages that are not yet handled. If they are exceeded, the
/// connection is closed, as Redis does with a subscriber that reads too slowly.
pub(super) const MAX_MESSAGES: usize = 65_536;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The maximum number of subscriptions that are changed at the same time.
const BATCH: usize = 128;

/// Input of a connection.
pub(super) enum Received {
    Message {
        channel: Channel,
        name: Vec<u8>,
        payload: Vec<u8>,
    },
    /// A subscription has ended: by a command of this server, or by Redis, for example because the slot of the
    /// channel was moved.
    Unsubscribed(Channel),
}

/// Where the input of all connections is left, with the number of the connection.
#[derive(Clone)]
pub(super) struct Inputs {
    pub(super) sender: mpsc::Sender<(u64, Received)>,
    pub(super) queued_bytes: Arc<AtomicUsize>,
}

/// A channel that messages may arrive on.
pub(super) struct Active {
    /// After the channel is no longer wanted, its last users. Other servers may have counted this server as a
    /// receiver of a request, which must be answered, until Redis confirms the end of the subscription.
    pub(super) users: Subscription,
    pub(super) is_wanted: bool,
}

/// An open connection.
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) connection: MultiplexedConnection,
    pub(super) lost: Arc<Lost>,
    pub(super) subscribed: HashMap<Channel, Active>,
    /// The subscriptions according to Redis. The result of a command does not tell: if Redis ends a subscription on
    /// its own, that message is taken for the result of the command that is being executed.
    confirmed: Arc<Mutex<HashSet<Channel>>>,
}

/// A change of a subscription.
pub(super) struct Change {
    pub(super) channel: Channel,
    pub(super) is_subscribe: bool,
}

impl Change {
    fn command(&self) -> Cmd {
        if self.is_subscribe { self.channel.subscribe() } else { self.channel.unsubscribe() }
    }
}

impl Link {
    /// Opens a connection to a node.
    pub(super) async fn open(
        nodes: &Nodes,
        node: &Node,
        number: u64,
        lost: Lost,
        inputs: Inputs,
    ) -> Option<Self> {
        let (lost, confirmed) = (Arc::new(lost), Arc::new(Mutex::new(HashSet::new())));
        let push = push_sender(number, inputs, lost.clone(), confirmed.clone());
        let config =
            AsyncConnectionConfig::new().set_push_sender(push).set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = nodes.connect(node, config).await?;
        Some(Self { number, connection, lost, subscribed: HashMap::new(), confirmed })
    }

    /// Sets the users of a channel. Returns the change that this requires.
    pub(super) fn change(&mut self, channel: Channel, users: Subscription) -> Option<Change> {
        let is_subscribe = !users.is_empty();
        let is_changed = if let Some(active) = self.subscribed.get_mut(&channel) {
            if is_subscribe {
                active.users = users;
            }
            std::mem::replace(&mut active.is_wanted, is_subscribe) != is_subscribe
        } else {
            if is_subscribe {
                // Messages may arrive before the confirmation.
                self.subscribed.insert(channel.clone(), Active { users, is_wanted: true });
            }
            is_subscribe
        };
        is_changed.then_some(Change { channel, is_subscribe })
    }

    /// Returns `true` if Redis has confirmed a subscription.
    pub(super) fn is_subscribed(&self, channel: &Channel) -> bool {
        self.confirmed.lock().contains(channel)
    }

    /// Returns the channels that are subscribed and wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Channel> {
        self.subscribed.iter().filter(|(_, active)| active.is_wanted).map(|(channel, _)| channel)
    }

    /// Executes changes, many in one round trip. Redis executes them in this order. Returns the subscriptions that
    /// the node has refused, or that it has not confirmed, with the errors.
    pub(super) async fn execute(&mut self, changes: &[Change]) -> Vec<(Channel, Option<RedisError>)> {
        let mut refused = Vec::new();
        for changes in changes.chunks(BATCH) {
            let executing = changes.iter().map(|change| {
                let mut connection = self.connection.clone();
                async move { connection.send_packed_command(&change.command()).await }
            });
            for (change, result) in changes.iter().zip(join_all(executing).await) {
                match result {
                    Err(error) if is_lost(&error) => {
                        tracing::debug!(%error, "cannot change a subscription");
                        self.lost.set();
                        return refused;
                    }
                    // A subscription that the node does not know has ended already.
                    _ if !change.is_subscribe => {}
                    Ok(_) if self.is_subscribed(&change.channel) => {}
                    result => {
                        self.subscribed.remove(&change.channel);
                        refused.push((change.channel.clone(), result.err()));
                    }
                }
            }
        }
        refused
    }

    /// Handles the end of a subscription. Returns `true` if Redis has ended it on its own.
    pub(super) fn unsubscribed(&mut self, channel: &Channel) -> bool {
        if self.is_subscribed(channel) {
            // It was subscribed again since.
            return false;
        }
        self.subscribed.remove(channel).is_some_and(|active| active.is_wanted)
    }

    /// Checks that the connection is not silently dead.
    pub(super) fn ping(&self) {
        let (mut connection, lost) = (self.connection.clone(), self.lost.clone());
        tokio::spawn(async move {
            let pong = connection.send_packed_command(&redis::cmd("PING")).await;
            if pong.is_err_and(|error| is_lost(&error)) {
                lost.set();
            }
        });
    }
}

/// Returns the function that takes the input of a connection. It must not wait.
fn push_sender(
    number: u64,
    Inputs { sender, queued_bytes }: Inputs,
    lost: Arc<Lost>,
    confirmed: Arc<Mutex<HashSet<Channel>>>,
) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static {
    move |PushInfo { kind, data }| {
        if kind == PushKind::Disconnection {
            lost.set();
            return Ok(());
        }
        let received = match received(&kind, data) {
            Some(Push::Received(received)) => received,
            Some(Push::Subscribed(channel)) => {
                confirmed.lock().insert(channel);
                return Ok(());
            }
            None => return Ok(()),
        };
        let len = match &received {
            Received::Message { payload, .. } => payload.len(),
            Received::Unsubscribed(channel) => {
                confirmed.lock().remove(channel);
                0
            }
        };
        let queued = queued_bytes.fetch_add(len, Ordering::Relaxed);
        let is_full = queued > 0 && queued.saturating_add(len) > MAX_BYTES;
        if is_full || sender.try_send((number, received)).is_err() {
            queued_bytes.fetch_sub(len, Ordering::Relaxed);
            tracing::warn!("messages of other servers arrive faster than they are handled");
            lost.set();
        }
        Ok(())
    }
}

enum Push {
    Received(Received),
    Subscribed(Channel),
}

fn received(kind: &PushKind, data: Vec<Value>) -> Option<Push> {
    let mut data = data.into_iter().map(|value| match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    });
    let mut next = || data.next().flatten();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let message = |channel, name, payload| Push::Received(Received::Message { channel, name, payload });
    let unsubscribed = |channel| Push::Received(Received::Unsubscribed(channel));
    let first = next()?;
    let name = text(&first);
    Some(match kind {
        PushKind::Message => message(Channel::Plain(name), first, next()?),
        PushKind::SMessage => message(Channel::Shard(name), first, next()?),
        PushKind::PMessage => message(Channel::Pattern(name), next()?, next()?),
        PushKind::Subscribe => Push::Subscribed(Channel::Plain(name)),
        PushKind::PSubscribe => Push::Subscribed(Channel::Pattern(name)),
        PushKind::SSubscribe => Push::Subscribed(Channel::Shard(name)),
        PushKind::Unsubscribe => unsubscribed(Channel::Plain(name)),
        PushKind::PUnsubscribe => unsubscribed(Channel::Pattern(name)),
        PushKind::SUnsubscribe => unsubscribed(Channel::Shard(name)),
        _ => return None,
    })
}
