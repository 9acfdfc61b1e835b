//! The memberships of a client: one for each namespace, from CONNECT to the end of the last handler.

use std::{
    collections::VecDeque,
    ops::{Index, IndexMut},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    config::ServerConfig,
    event::reason::DisconnectReason,
    namespace::dispatch::{ConnectFuture, Member, MemberKey},
};

/// The memberships of a client, with their queued packets.
#[derive(Default)]
pub(crate) struct Memberships {
    /// Searched linearly, because most clients have one.
    list: Vec<Membership>,
    /// The namespaces that the client has left, the latest last. Packets for them may still arrive.
    recently_left: VecDeque<Box<str>>,
    next_key: MemberKey,
    /// The bytes of the queued packets of all memberships.
    queued_bytes: usize,
}

pub(crate) struct Membership {
    pub(crate) key: MemberKey,
    pub(crate) path: Box<str>,
    pub(crate) stage: Stage,
    /// The number of running handlers.
    pub(crate) in_flight: usize,
    /// Packets that arrived before they could be handled.
    queue: VecDeque<QueuedItem>,
    /// The deadline after which the end does not wait for running handlers.
    grace_deadline: Option<Instant>,
}

pub(crate) enum Stage {
    /// The admission of the namespace runs. Dropped with the connection.
    Admitting(ConnectFuture),
    /// `on_connect` runs, and events are queued.
    Connecting(Box<dyn Member>),
    /// Events are handled.
    Open(Box<dyn Member>),
    /// `on_disconnect` runs.
    Leaving,
}

pub(crate) enum QueuedItem {
    Event { id: Option<u64>, payload: Box<str>, attachments: Vec<Bytes> },
    Disconnect,
}

impl QueuedItem {
    /// The memory of the packet in bytes.
    fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Event { payload, attachments, .. } => {
                    payload.len()
                        + attachments.iter().map(|bytes| size_of::<Bytes>() + bytes.len()).sum::<usize>()
                }
                Self::Disconnect => 0,
            }
    }
}

impl Memberships {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Membership> {
        self.list.get(at)
    }

    /// The current membership in a namespace.
    pub(crate) fn find(&self, path: &str) -> Option<usize> {
        self.list.iter().position(|membership| &*membership.path == path && !membership.has_left())
    }

    pub(crate) fn find_key(&self, key: MemberKey) -> Option<usize> {
        self.list.iter().position(|membership| membership.key == key)
    }

    /// The membership, if the socket has not left.
    pub(crate) fn find_present(&self, key: MemberKey) -> Option<usize> {
        self.find_key(key).filter(|&at| !self.list[at].has_left())
    }

    /// Returns `true` if the client has joined the namespace or has recently left it.
    pub(crate) fn is_known(&self, path: &str) -> bool {
        self.list.iter().any(|membership| &*membership.path == path)
            || self.recently_left.iter().any(|left| &**left == path)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &dyn Member> {
        self.list.iter().filter_map(Membership::member)
    }

    /// The earliest end of a grace period.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.list.iter().filter_map(|membership| membership.grace_deadline).min()
    }

    /// Returns `true` if another packet may be queued, of any size.
    pub(crate) fn have_room(&self, config: &ServerConfig) -> bool {
        self.queued_bytes < config.max_waiting_bytes
    }

    /// Adds a membership whose admission runs.
    pub(crate) fn add(&mut self, path: &str, admission: ConnectFuture) {
        let key = self.next_key;
        self.next_key = key.wrapping_add(1);
        self.recently_left.retain(|left| &**left != path);
        // Most clients join one namespace, and a vector would allocate four places.
        self.list.reserve_exact(1);
        self.list.push(Membership {
            key,
            path: path.into(),
            stage: Stage::Admitting(admission),
            in_flight: 0,
            queue: VecDeque::new(),
            grace_deadline: None,
        });
    }

    /// Removes a membership and its queue. Returns its path.
    pub(crate) fn drop_membership(&mut self, at: usize) -> Box<str> {
        self.clear_queue(at);
        self.list.swap_remove(at).path
    }

    /// Removes the membership of a client that had joined. Remembers the namespace, for which packets may still
    /// arrive; as many are remembered as a client may join.
    pub(crate) fn remove(&mut self, at: usize, max_namespaces: usize) {
        let path = self.drop_membership(at);
        self.recently_left.retain(|left| *left != path);
        if self.recently_left.len() >= max_namespaces {
            self.recently_left.pop_front();
        }
        self.recently_left.push_back(path);
    }

    /// Drops the admissions that run.
    pub(crate) fn end_admissions(&mut self) {
        self.list.retain(|membership| !matches!(membership.stage, Stage::Admitting(_)));
    }

    pub(crate) fn enqueue(&mut self, at: usize, item: QueuedItem) {
        self.queued_bytes += item.cost();
        self.list[at].queue.push_back(item);
    }

    /// The next packet, if it may be handled now.
    pub(crate) fn dequeue(&mut self, at: usize, backpressured: bool) -> Option<QueuedItem> {
        let membership = &mut self.list[at];
        if membership.queue.is_empty() || !membership.may_dequeue(backpressured) {
            return None;
        }
        let item = membership.queue.pop_front()?;
        self.queued_bytes -= item.cost();
        if membership.queue.is_empty() {
            membership.queue = VecDeque::new();
        }
        Some(item)
    }

    /// Discards the queue.
    pub(crate) fn clear_queue(&mut self, at: usize) {
        let queue = std::mem::take(&mut self.list[at].queue);
        self.queued_bytes -= queue.iter().map(QueuedItem::cost).sum::<usize>();
    }

    /// Stops waiting for handlers and `on_connect` of a client that leaves, once the grace period is over.
    pub(crate) fn end_grace(&mut self, at: usize, grace: Duration) {
        let membership = &mut self.list[at];
        let leaves = matches!(membership.queue.back(), Some(QueuedItem::Disconnect));
        let hook_of_left =
            matches!(&membership.stage, Stage::Connecting(member) if member.socket().left().is_some());
        if membership.member().is_none() || !(leaves || hook_of_left) || !membership.grace_is_over(grace) {
            return;
        }
        membership.open();
        self.clear_queue(at);
        if let Some(member) = self.list[at].member() {
            member.socket().leave_namespace(DisconnectReason::ClientNamespaceDisconnect);
        }
    }

    /// Takes the member out once its socket has left and its handlers have returned or the grace period is over.
    /// Returns it with the reason, for `on_disconnect`.
    pub(crate) fn leave(
        &mut self,
        at: usize,
        grace: Duration,
        closed: bool,
    ) -> Option<(Box<dyn Member>, DisconnectReason)> {
        let Stage::Open(member) = &self.list[at].stage else { return None };
        let reason = member.socket().left()?;
        if reason != DisconnectReason::ClientNamespaceDisconnect && !closed {
            // Disconnected by the server: queued events are discarded.
            self.clear_queue(at);
        }
        let membership = &mut self.list[at];
        if (membership.in_flight > 0 || !membership.queue.is_empty()) && !membership.grace_is_over(grace) {
            return None;
        }
        self.clear_queue(at);
        let membership = &mut self.list[at];
        membership.grace_deadline = None;
        match std::mem::replace(&mut membership.stage, Stage::Leaving) {
            Stage::Open(member) => Some((member, reason)),
            _ => None,
        }
    }
}

impl Index<usize> for Memberships {
    type Output = Membership;

    fn index(&self, at: usize) -> &Membership {
        &self.list[at]
    }
}

impl IndexMut<usize> for Memberships {
    fn index_mut(&mut self, at: usize) -> &mut Membership {
        &mut self.list[at]
    }
}

impl Membership {
    /// Returns `true` if it is open, its queue is empty and the socket has not left.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && matches!(&self.stage, Stage::Open(member) if member.socket().left().is_none())
    }

    pub(crate) fn member(&self) -> Option<&dyn Member> {
        match &self.stage {
            Stage::Connecting(member) | Stage::Open(member) => Some(&**member),
            Stage::Admitting(_) | Stage::Leaving => None,
        }
    }

    /// Handles events from now on: `on_connect` has returned.
    pub(crate) fn open(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Leaving) {
            Stage::Connecting(member) => Stage::Open(member),
            stage => stage,
        };
    }

    /// Returns `true` if an event that arrives now is handled at once.
    pub(crate) fn may_start(&self, backpressured: bool) -> bool {
        self.queue.is_empty() && self.may_dequeue(backpressured)
    }

    fn may_dequeue(&self, backpressured: bool) -> bool {
        let Stage::Open(member) = &self.stage else { return false };
        let max = member.max_in_flight();
        !backpressured && (self.in_flight < max || self.in_flight < member.socket().max_handlers(max))
    }

    fn has_left(&self) -> bool {
        match &self.stage {
            Stage::Admitting(_) => false,
            Stage::Connecting(member) | Stage::Open(member) => member.socket().left().is_some(),
            Stage::Leaving => true,
        }
    }

    /// Returns `true` once the grace period has passed. The first call starts it.
    fn grace_is_over(&mut self, grace: Duration) -> bool {
        let now = tokio::time::Instant::now().into_std();
        now >= *self.grace_deadline.get_or_insert(now + grace)
    }
}
