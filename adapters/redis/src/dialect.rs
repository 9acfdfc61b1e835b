//! The wire format of an adapter of Node.js: which channels a server subscribes to, and what messages look
//! like. Dialects do no I/O.

use std::sync::Arc;

use redis::Cmd;
use socketio::cluster::{Inbound, Inbox, Message, Reply, RequestId, ServerId, node::Malformed};

use crate::nodes::slot_of;

/// The kinds of subscriptions of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelKind {
    Plain,
    Pattern,
    Shard,
}

/// A subscription of Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// `SUBSCRIBE`
    Plain(String),
    /// `PSUBSCRIBE`
    Pattern(String),
    /// `SSUBSCRIBE`
    Shard(String),
}

impl Channel {
    pub(crate) fn new(kind: ChannelKind, name: String) -> Self {
        match kind {
            ChannelKind::Plain => Self::Plain(name),
            ChannelKind::Pattern => Self::Pattern(name),
            ChannelKind::Shard => Self::Shard(name),
        }
    }

    pub(crate) fn kind(&self) -> ChannelKind {
        match self {
            Self::Plain(_) => ChannelKind::Plain,
            Self::Pattern(_) => ChannelKind::Pattern,
            Self::Shard(_) => ChannelKind::Shard,
        }
    }

    pub(crate) fn name(&self) -> &str {
        let (Self::Plain(name) | Self::Pattern(name) | Self::Shard(name)) = self;
        name
    }

    pub(crate) fn subscribe(&self) -> Cmd {
        self.command("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE")
    }

    pub(crate) fn unsubscribe(&self) -> Cmd {
        self.command("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE")
    }

    /// Returns the slot of the node that has the channel. `None` if all nodes have it.
    pub(crate) fn slot(&self) -> Option<u16> {
        match self {
            Self::Plain(_) | Self::Pattern(_) => None,
            Self::Shard(name) => Some(slot_of(name.as_bytes())),
        }
    }

    /// Returns the command that sends a message to the subscribers.
    pub(crate) fn publish(&self, payload: &[u8]) -> Publish {
        match self {
            Self::Plain(name) | Self::Pattern(name) => Publish::plain(name, payload),
            Self::Shard(name) => Publish::sharded(name, payload),
        }
    }

    /// Returns the command that counts the subscribers.
    pub(crate) fn count(&self) -> Count {
        match self {
            Self::Plain(name) | Self::Pattern(name) => Count::plain(name),
            Self::Shard(name) => Count::sharded(name),
        }
    }

    fn command(&self, plain: &str, pattern: &str, shard: &str) -> Cmd {
        let mut cmd = redis::cmd(match self.kind() {
            ChannelKind::Plain => plain,
            ChannelKind::Pattern => pattern,
            ChannelKind::Shard => shard,
        });
        cmd.arg(self.name());
        cmd
    }
}

/// A command that sends one message.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    /// The slot of the node that executes the command. `None` if any node does.
    pub(crate) slot: Option<u16>,
    pub(crate) command: Cmd,
    /// Set if the message is a request. The command then is `PUBLISH` or `SPUBLISH`, whose result is the
    /// number of servers that received the request, and `count` returns the number of subscribers.
    pub(crate) request: Option<(RequestId, Cmd)>,
}

impl Publish {
    /// A message for subscribers, which any node accepts.
    pub(crate) fn plain(channel: &str, payload: &[u8]) -> Self {
        Self { slot: None, command: publish("PUBLISH", channel, payload), request: None }
    }

    /// A message for the subscribers of a channel that belongs to a slot.
    pub(crate) fn sharded(channel: &str, payload: &[u8]) -> Self {
        let slot = Some(slot_of(channel.as_bytes()));
        Self { slot, command: publish("SPUBLISH", channel, payload), request: None }
    }

    /// A command for a key.
    pub(crate) fn keyed(key: &str, command: Cmd) -> Self {
        Self { slot: Some(slot_of(key.as_bytes())), command, request: None }
    }

    /// Makes the message a request. `count` returns the number of subscribers.
    pub(crate) fn requesting(mut self, request: Option<&RequestId>, count: Count) -> Self {
        self.request = request.map(|request| (request.clone(), count.command));
        self
    }
}

/// The command that counts the servers of a namespace. The result is a list of a channel and a number.
#[derive(Debug)]
pub(crate) struct Count {
    /// The slot of the channel. If there is none, each node has subscribers of its own.
    pub(crate) slot: Option<u16>,
    pub(crate) command: Cmd,
}

impl Count {
    pub(crate) fn plain(channel: &str) -> Self {
        Self { slot: None, command: subscribers("NUMSUB", channel) }
    }

    pub(crate) fn sharded(channel: &str) -> Self {
        Self { slot: Some(slot_of(channel.as_bytes())), command: subscribers("SHARDNUMSUB", channel) }
    }
}

pub(crate) trait Dialect: Send + Sync + 'static {
    /// Returns the channels of a namespace.
    fn channels(&self, id: &ServerId, namespace: &str) -> Vec<Channel>;

    /// Returns the channel of a room, if rooms have channels of their own.
    fn room_channel(&self, namespace: &str, room: &str) -> Option<Channel> {
        let _ = (namespace, room);
        None
    }

    /// Returns `true` if rooms have channels of their own.
    fn has_room_channels(&self) -> bool {
        false
    }

    /// Returns a channel of this server alone, which the watchdog sends to.
    fn watchdog(&self, id: &ServerId) -> Channel;

    /// Encodes a message to all servers.
    fn encode(&self, message: &Message) -> Vec<Publish>;

    /// Encodes a broadcast that this server delivers when it reads it from the stream. `number` identifies it.
    fn encode_logged(&self, message: &Message, number: u64) -> Option<Publish> {
        let _ = (message, number);
        None
    }

    /// Encodes a response.
    fn encode_reply(&self, to: &ServerId, reply: &Reply) -> Vec<Publish>;

    /// Decodes a message of a channel of `namespace`. Returns `None` if the message does not concern this
    /// server.
    fn decode(
        &self,
        inbox: &Inbox,
        namespace: &Arc<str>,
        channel: &[u8],
        payload: &[u8],
    ) -> Result<Option<Inbound>, Malformed>;

    /// Returns the command that counts the servers of a namespace.
    fn count(&self, namespace: &str) -> Count;
}

/// Returns the command `PUBLISH` or `SPUBLISH`.
fn publish(command: &str, channel: &str, payload: &[u8]) -> Cmd {
    let mut cmd = Cmd::with_capacity(3, command.len() + channel.len() + payload.len());
    cmd.arg(command).arg(channel).arg(payload);
    cmd
}

/// Returns the command that counts the subscribers of a channel.
fn subscribers(kind: &str, channel: &str) -> Cmd {
    let mut cmd = redis::cmd("PUBSUB");
    cmd.arg(kind).arg(channel);
    cmd
}
