//! A connection with subscriptions.

use std::{collections::HashSet, sync::Arc};

use futures::future::join_all;
use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, Cmd, PushInfo, PushKind, RedisError, Value, aio::SendError};
use socketio_broker::Subscription;

use super::{
    frames::{Filtered, Published},
    receiver::{Active, Received, Receiver, Subscriptions},
};
use crate::{
    dialect::{Channel, ChannelKind},
    nodes::{Lost, Node, Nodes, OpenConnection, RESPONSE_TIMEOUT, is_lost},
};

/// The maximum number of subscriptions that are changed at the same time.
const BATCH: usize = 128;

/// An open connection.
pub(super) struct Link {
    pub(super) number: u64,
    connection: OpenConnection,
    pub(super) lost: Arc<Lost>,
    pub(super) subscriptions: Arc<Mutex<Subscriptions>>,
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
    pub(super) async fn open(nodes: &Nodes, node: &Node, receiver: Receiver) -> Option<Self> {
        let (number, lost) = (receiver.number, receiver.lost.clone());
        let (subscriptions, confirmed) =
            (receiver.subscriptions.clone(), Arc::new(Mutex::new(HashSet::new())));
        let receiver = Arc::new(receiver);
        let push = push_sender(receiver.clone(), confirmed.clone());
        let config =
            AsyncConnectionConfig::new().set_push_sender(push).set_response_timeout(Some(RESPONSE_TIMEOUT));
        let filter = move |stream| Filtered::new(stream, move |message| receiver.message(&message));
        let connection = nodes.connect_filtered(node, config, filter).await?;
        Some(Self { number, connection, lost, subscriptions, confirmed })
    }

    /// Sets the users of a channel. Returns the change that this requires.
    pub(super) fn change(&mut self, channel: Channel, users: Subscription) -> Option<Change> {
        let is_subscribe = !users.is_empty();
        let mut subscriptions = self.subscriptions.lock();
        let is_changed = if let Some(active) = subscriptions.get_mut(&channel) {
            if is_subscribe {
                active.users = users.into();
            }
            std::mem::replace(&mut active.is_wanted, is_subscribe) != is_subscribe
        } else {
            if is_subscribe {
                // Messages may arrive before the confirmation.
                subscriptions.insert(&channel, Active { users: users.into(), is_wanted: true });
            }
            is_subscribe
        };
        is_changed.then_some(Change { channel, is_subscribe })
    }

    /// Returns `true` if Redis has confirmed a subscription.
    pub(super) fn is_subscribed(&self, channel: &Channel) -> bool {
        self.confirmed.lock().contains(channel)
    }

    /// Executes changes, many in one round trip. Redis executes them in this order. Returns the subscriptions that
    /// the node has refused, or that it has not confirmed, with the errors.
    pub(super) async fn execute(&mut self, changes: &[Change]) -> Vec<(Channel, Option<RedisError>)> {
        let mut refused = Vec::new();
        for changes in changes.chunks(BATCH) {
            let executing = changes.iter().map(|change| {
                let mut connection = self.connection.commands.clone();
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
                        self.subscriptions.lock().remove(&change.channel);
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
        self.subscriptions.lock().remove(channel).is_some_and(|active| active.is_wanted)
    }

    /// Checks that the connection is not silently dead.
    pub(super) fn ping(&self) {
        let (mut connection, lost) = (self.connection.commands.clone(), self.lost.clone());
        tokio::spawn(async move {
            let pong = connection.send_packed_command(&redis::cmd("PING")).await;
            if pong.is_err_and(|error| is_lost(&error)) {
                lost.set();
            }
        });
    }
}

/// Returns the function that takes the messages of a connection that are not results of commands. It must not wait.
fn push_sender(
    receiver: Arc<Receiver>,
    confirmed: Arc<Mutex<HashSet<Channel>>>,
) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static {
    move |PushInfo { kind, data }| {
        let texts = texts(&data);
        match (push(&kind), &texts[..]) {
            (Some(Push::Lost), _) => receiver.lost.set(),
            (Some(Push::Subscribed(kind)), [name, ..]) => drop(confirmed.lock().insert(channel(kind, name))),
            (Some(Push::Unsubscribed(kind)), [name, ..]) => {
                let channel = channel(kind, name);
                confirmed.lock().remove(&channel);
                receiver.queue(Received::Unsubscribed(channel));
            }
            // Most messages do not come this way: only those of connections with TLS.
            (Some(Push::Message(kind)), [subscription, .., payload]) => {
                let channel = texts[usize::from(kind == ChannelKind::Pattern)];
                receiver.message(&Published { kind, subscription, channel, payload });
            }
            _ => {}
        }
        Ok(())
    }
}

enum Push {
    Message(ChannelKind),
    Subscribed(ChannelKind),
    Unsubscribed(ChannelKind),
    Lost,
}

fn push(kind: &PushKind) -> Option<Push> {
    use ChannelKind::{Pattern, Plain, Shard};
    Some(match kind {
        PushKind::Message => Push::Message(Plain),
        PushKind::PMessage => Push::Message(Pattern),
        PushKind::SMessage => Push::Message(Shard),
        PushKind::Subscribe => Push::Subscribed(Plain),
        PushKind::PSubscribe => Push::Subscribed(Pattern),
        PushKind::SSubscribe => Push::Subscribed(Shard),
        PushKind::Unsubscribe => Push::Unsubscribed(Plain),
        PushKind::PUnsubscribe => Push::Unsubscribed(Pattern),
        PushKind::SUnsubscribe => Push::Unsubscribed(Shard),
        PushKind::Disconnection => Push::Lost,
        _ => return None,
    })
}

fn channel(kind: ChannelKind, name: &[u8]) -> Channel {
    Channel::new(kind, String::from_utf8_lossy(name).into_owned())
}

/// Returns the texts among the elements of a message.
fn texts(data: &[Value]) -> Vec<&[u8]> {
    data.iter().filter_map(text).collect()
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}
