//! Handles the messages of a connection where they are received, in the task that reads the connection.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use socketio::cluster::{Inbox, node::Malformed};
use socketio_broker::{Shared, Subscription, User};
use tokio::sync::mpsc;

use super::frames::Published;
use crate::{
    dialect::{Channel, ChannelKind, Dialect},
    nodes::Lost,
};

/// The maximum number and bytes of received messages that are not yet handled. If they are exceeded, the
/// connection is closed, as Redis does with a subscriber that reads too slowly.
const MAX_MESSAGES: usize = 65_536;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Input of a connection that the subscriber handles.
pub(super) enum Received {
    /// A message that cannot be handled at once: the queue of the server was full, or several namespaces have the channel.
    Message { channel: Channel, name: Vec<u8>, payload: Vec<u8> },
    /// A number that the watchdog has published.
    Watchdog(Option<u64>),
    /// A subscription has ended: by a command of this server, or by Redis, for example because the slot of the
    /// channel was moved.
    Unsubscribed(Channel),
}

/// Where the input of all connections is left, with the number of the connection.
#[derive(Clone)]
pub(super) struct Inputs {
    sender: mpsc::Sender<(u64, Received)>,
    /// The messages in the queue that are not handled yet, and their bytes.
    messages: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

impl Inputs {
    pub(super) fn new() -> (Self, mpsc::Receiver<(u64, Received)>) {
        let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
        (Self { sender, messages: Arc::default(), bytes: Arc::default() }, receiver)
    }

    /// Returns `false` if the queue is full.
    fn push(&self, number: u64, received: Received) -> bool {
        let Received::Message { payload, .. } = &received else {
            return self.sender.try_send((number, received)).is_ok();
        };
        let len = payload.len();
        let before = self.bytes.fetch_add(len, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
        let is_full = before > 0 && before.saturating_add(len) > MAX_BYTES;
        let is_queued = !is_full && self.sender.try_send((number, received)).is_ok();
        if !is_queued {
            self.release(len);
        }
        is_queued
    }

    /// Called after a message of the queue was handled.
    pub(super) fn release(&self, len: usize) {
        self.bytes.fetch_sub(len, Ordering::Relaxed);
        // What is received later must not overtake it.
        self.messages.fetch_sub(1, Ordering::Release);
    }

    fn has_messages(&self) -> bool {
        self.messages.load(Ordering::Acquire) > 0
    }
}

/// A channel that messages may arrive on.
#[derive(Debug)]
pub(super) struct Active {
    /// After the channel is no longer wanted, its last users. Other servers may have counted this server as a
    /// receiver of a request, which must be answered, until Redis confirms the end of the subscription.
    pub(super) users: Arc<Subscription>,
    pub(super) is_wanted: bool,
}

/// The channels that messages may arrive on.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    plain: HashMap<String, Active>,
    patterns: HashMap<String, Active>,
    shards: HashMap<String, Active>,
}

impl Subscriptions {
    fn of(&self, kind: ChannelKind) -> &HashMap<String, Active> {
        match kind {
            ChannelKind::Plain => &self.plain,
            ChannelKind::Pattern => &self.patterns,
            ChannelKind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: ChannelKind) -> &mut HashMap<String, Active> {
        match kind {
            ChannelKind::Plain => &mut self.plain,
            ChannelKind::Pattern => &mut self.patterns,
            ChannelKind::Shard => &mut self.shards,
        }
    }

    pub(super) fn get_mut(&mut self, channel: &Channel) -> Option<&mut Active> {
        self.of_mut(channel.kind()).get_mut(channel.name())
    }

    pub(super) fn insert(&mut self, channel: &Channel, active: Active) {
        self.of_mut(channel.kind()).insert(channel.name().to_owned(), active);
    }

    pub(super) fn remove(&mut self, channel: &Channel) -> Option<Active> {
        self.of_mut(channel.kind()).remove(channel.name())
    }

    /// Returns the channels that are wanted.
    pub(super) fn wanted(&self) -> Vec<Channel> {
        let kinds = [ChannelKind::Plain, ChannelKind::Pattern, ChannelKind::Shard];
        let wanted = |kind| {
            self.of(kind).iter().filter(|(_, active)| active.is_wanted).map(move |(name, _)| (kind, name))
        };
        kinds.into_iter().flat_map(wanted).map(|(kind, name)| Channel::new(kind, name.clone())).collect()
    }
}

/// Handles the input of one connection. No method waits.
pub(super) struct Receiver {
    pub(super) number: u64,
    pub(super) dialect: Arc<dyn Dialect>,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Inbox,
    pub(super) watchdog: Channel,
    pub(super) subscriptions: Arc<Mutex<Subscriptions>>,
    pub(super) inputs: Inputs,
    pub(super) lost: Arc<Lost>,
}

impl Receiver {
    /// Passes a message to the server, or queues it if the queue of the server is full.
    pub(super) fn message(&self, message: &Published<'_>) {
        // Subscriptions have names of UTF-8.
        let Ok(name) = std::str::from_utf8(message.subscription) else { return };
        if message.kind == self.watchdog.kind() && name == self.watchdog.name() {
            let sent = std::str::from_utf8(message.payload).ok().and_then(|sent| sent.parse().ok());
            self.queue(Received::Watchdog(sent));
            return;
        }
        let users = self.subscriptions.lock().of(message.kind).get(name).map(|active| active.users.clone());
        let Some(users) = users else { return };
        let [User { namespace, .. }] = &users[..] else { return self.queue_message(message, name) };
        if self.inputs.has_messages() {
            return self.queue_message(message, name);
        }
        match self.dialect.decode(&self.inbox, namespace, message.channel, message.payload) {
            Ok(Some(inbound)) => {
                if !self.inbox.deliver(&inbound) && self.inbox.try_send(inbound).is_err() {
                    self.queue_message(message, name);
                }
            }
            Ok(None) => {}
            Err(Malformed) => self.shared.count_malformed(namespace),
        }
    }

    fn queue_message(&self, message: &Published<'_>, name: &str) {
        let channel = Channel::new(message.kind, name.to_owned());
        let (name, payload) = (message.channel.to_vec(), message.payload.to_vec());
        self.queue(Received::Message { channel, name, payload });
    }

    /// Leaves input to the subscriber.
    pub(super) fn queue(&self, received: Received) {
        if !self.inputs.push(self.number, received) {
            tracing::warn!("messages of other servers arrive faster than they are handled");
            self.lost.set();
        }
    }
}
