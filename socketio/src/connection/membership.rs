//! The memberships of a client in namespaces. A membership exists from the CONNECT packet until the
//! disconnect hook has returned.

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

/// The handlers that a connection may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// The client has not read the replies to earlier events, so no handler starts.
    None,
    /// The connection runs `max_pending_acks` handlers, so each socket is limited to `max_in_flight`.
    InFlight,
    /// Handlers that wait for an acknowledgement of their client do not count against `max_in_flight`.
    Full,
}

/// The memberships of a client, with their queued packets.
#[derive(Default)]
pub(crate) struct Memberships {
    /// The list is searched linearly, because most clients have only one membership.
    list: Vec<Membership>,
    /// Namespaces that the client left recently, oldest first. Packets for them may still be in flight.
    recently_left: VecDeque<Box<str>>,
    next_key: MemberKey,
    /// The size in bytes of the queued packets of all memberships.
    queued_bytes: usize,
}

pub(crate) struct Membership {
    pub(crate) key: MemberKey,
    pub(crate) path: Box<str>,
    pub(crate) stage: Stage,
    /// The number of running handlers.
    pub(crate) in_flight: usize,
    /// Packets that cannot be handled yet, in order of arrival.
    queue: VecDeque<QueuedItem>,
    /// The deadline after which the disconnect hook no longer waits for running handlers.
    grace_deadline: Option<Instant>,
}

pub(crate) enum Stage {
    /// The auth function is running. Its future is dropped when the connection closes.
    Admitting(ConnectFuture),
    /// `on_connect` is running, and events are queued.
    Connecting(Box<dyn Member>),
    /// Events are handled.
    Open(Box<dyn Member>),
    /// `on_disconnect` is running.
    Leaving,
}

pub(crate) enum QueuedItem {
    Event { id: Option<u64>, payload: Box<str>, attachments: Vec<Bytes> },
    Disconnect,
}

impl QueuedItem {
    /// Returns the memory that the packet occupies, in bytes.
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

    /// Returns the index of the current membership in a namespace.
    pub(crate) fn find(&self, path: &str) -> Option<usize> {
        self.list.iter().position(|membership| &*membership.path == path && !membership.has_left())
    }

    pub(crate) fn find_key(&self, key: MemberKey) -> Option<usize> {
        self.list.iter().position(|membership| membership.key == key)
    }

    /// Returns the index of the membership with a key, or `None` if the socket has left.
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

    /// Returns the earliest deadline of a grace period.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.list.iter().filter_map(|membership| membership.grace_deadline).min()
    }

    /// Returns `true` if another packet of any size may be queued.
    pub(crate) fn have_room(&self, config: &ServerConfig) -> bool {
        self.queued_bytes < config.max_waiting_bytes
    }

    /// Adds a membership whose admission is pending.
    pub(crate) fn add(&mut self, path: &str, admission: ConnectFuture) {
        let key = self.next_key;
        self.next_key = key.wrapping_add(1);
        self.recently_left.retain(|left| &**left != path);
        // Most clients join one namespace, but by default a vector would allocate capacity for four
        // memberships.
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

    /// Removes a membership and its queue. Returns the path of the namespace.
    pub(crate) fn drop_membership(&mut self, at: usize) -> Box<str> {
        self.clear_queue(at);
        self.list.swap_remove(at).path
    }

    /// Removes the membership of a client that had joined, and records the namespace as recently left,
    /// because packets for the namespace may still be in flight. Up to `max_namespaces` namespaces are
    /// recorded.
    pub(crate) fn remove(&mut self, at: usize, max_namespaces: usize) {
        let path = self.drop_membership(at);
        self.recently_left.retain(|left| *left != path);
        if self.recently_left.len() >= max_namespaces {
            self.recently_left.pop_front();
        }
        self.recently_left.push_back(path);
    }

    /// Drops all pending admissions.
    pub(crate) fn end_admissions(&mut self) {
        self.list.retain(|membership| !matches!(membership.stage, Stage::Admitting(_)));
    }

    pub(crate) fn enqueue(&mut self, at: usize, item: QueuedItem) {
        self.queued_bytes += item.cost();
        self.list[at].queue.push_back(item);
    }

    /// Returns the payload of the next packet, if it is an event.
    pub(crate) fn next_event(&self, at: usize) -> Option<&str> {
        match self.list[at].queue.front()? {
            QueuedItem::Event { payload, .. } => Some(payload),
            QueuedItem::Disconnect => None,
        }
    }

    /// Removes and returns the next packet, if it may be handled now.
    pub(crate) fn dequeue(&mut self, at: usize, capacity: Capacity) -> Option<QueuedItem> {
        let membership = &mut self.list[at];
        if membership.queue.is_empty() || !membership.may_dequeue(capacity) {
            return None;
        }
        let item = membership.queue.pop_front()?;
        self.queued_bytes -= item.cost();
        if membership.queue.is_empty() {
            membership.queue = VecDeque::new();
        }
        Some(item)
    }

    /// Discards the queued packets of a membership.
    pub(crate) fn clear_queue(&mut self, at: usize) {
        let queue = std::mem::take(&mut self.list[at].queue);
        self.queued_bytes -= queue.iter().map(QueuedItem::cost).sum::<usize>();
    }

    /// Discards the queued packets of all memberships.
    pub(crate) fn clear_queues(&mut self) {
        (0..self.list.len()).for_each(|at| self.clear_queue(at));
    }

    /// Once the grace period is over, stops waiting for the handlers and the `on_connect` hook of a client
    /// that is leaving.
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

    /// Removes and returns the member, with the disconnect reason for `on_disconnect`. Returns `None` until
    /// the socket has left, and until its handlers have returned and its queue is empty or the grace period
    /// is over.
    pub(crate) fn leave(
        &mut self,
        at: usize,
        grace: Duration,
        closed: bool,
    ) -> Option<(Box<dyn Member>, DisconnectReason)> {
        let Stage::Open(member) = &self.list[at].stage else { return None };
        let reason = member.socket().left()?;
        if reason != DisconnectReason::ClientNamespaceDisconnect && !closed {
            // The server disconnected the socket, so queued events are discarded.
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
    /// Returns `true` if the membership is open, its queue is empty and its socket has not left.
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

    /// Allows events to be handled. Called once `on_connect` has returned or the grace period is over.
    pub(crate) fn open(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Leaving) {
            Stage::Connecting(member) => Stage::Open(member),
            stage => stage,
        };
    }

    /// Returns `true` if an event that arrives now is handled immediately.
    pub(crate) fn may_start(&self, capacity: Capacity) -> bool {
        self.queue.is_empty() && self.may_dequeue(capacity)
    }

    fn may_dequeue(&self, capacity: Capacity) -> bool {
        let Stage::Open(member) = &self.stage else { return false };
        let max = member.max_in_flight();
        match capacity {
            Capacity::None => false,
            Capacity::InFlight => self.in_flight < max,
            Capacity::Full => self.in_flight < max || self.in_flight < member.socket().max_handlers(max),
        }
    }

    fn has_left(&self) -> bool {
        match &self.stage {
            Stage::Admitting(_) => false,
            Stage::Connecting(member) | Stage::Open(member) => member.socket().left().is_some(),
            Stage::Leaving => true,
        }
    }

    /// Returns `true` once the grace period is over. The first call starts the grace period.
    fn grace_is_over(&mut self, grace: Duration) -> bool {
        let now = tokio::time::Instant::now().into_std();
        now >= *self.grace_deadline.get_or_insert(now + grace)
    }
}
