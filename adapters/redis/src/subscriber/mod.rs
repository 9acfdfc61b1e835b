//! The task that keeps the subscriptions and receives messages.
//!
//! The wanted channels are kept as a set. After each change, and after each new connection, the task
//! subscribes to what is missing and unsubscribes from what is not wanted, one command after the other. So a
//! room that is left and joined again is subscribed in the end.
//!
//! A channel is subscribed at the node that has its slot, so there may be several connections. If a slot is moved,
//! Redis ends the subscription, and the task subscribes at the new owner.

mod frames;
mod link;
mod receiver;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use socketio::cluster::{Inbox, node::Malformed};
use socketio_broker::{Backoff, Shared, Subscription, User, UserKind, Wanted};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use self::{
    link::{Change, Link},
    receiver::{Inputs, Received, Receiver},
};
use crate::{
    dialect::{Channel, Dialect},
    nodes::{Course, Failure, Lost, Node, Nodes},
};

/// The time after which a refused subscription is tried again.
const REFUSED: Duration = Duration::from_millis(20);
/// The time after which a channel is subscribed at another node. In a cluster, a former master passes its last messages
/// on, so a server that subscribes too early receives them twice.
const SETTLING: Duration = Duration::from_millis(50);
/// The time for which channels may have no subscription, because their slots are moved, before the server counts as
/// not connected.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Subscriber {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) wanted: Arc<Wanted<Channel>>,
    pub(crate) watchdog_interval: Duration,
}

/// The connections.
struct Links {
    open: HashMap<Node, Link>,
    opening: JoinSet<(Node, Option<Link>)>,
    /// The nodes that are being connected.
    pending: HashSet<Node>,
    backoffs: HashMap<Node, Backoff>,
    inputs: Inputs,
    /// Notified when a connection is lost.
    lost: Arc<Notify>,
    /// The number of connections that were opened.
    number: u64,
    /// The nodes for which all channels were compared.
    course: Course,
    /// `true` until all wanted channels were compared with the subscriptions.
    is_new: bool,
    /// `true` if channels wait for a connection, or for a node that has their slot.
    is_waiting: bool,
    /// The subscriptions that a node has refused. They are tried again.
    refused: HashSet<Channel>,
    /// The time since which some channels have no subscription.
    incomplete: Option<Instant>,
    watchdog: Channel,
    /// The number that the watchdog has published last and that was not received yet.
    awaited: Option<u64>,
    sent: u64,
}

/// The changes of the subscriptions at each node.
type Changes = HashMap<Node, Vec<Change>>;

impl Subscriber {
    /// Runs until the server leaves the cluster.
    pub(crate) async fn run(self) {
        let shared = self.shared.clone();
        shared.receive_until_left(self.receive_all()).await;
    }

    async fn receive_all(&self) {
        let (inputs, mut received) = Inputs::new();
        let mut links = Links::new(inputs, self.dialect.watchdog(self.inbox.server_id()));
        let mut changes = self.nodes.changes();
        let mut ticks = interval(self.watchdog_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.reconcile(&mut links).await;
            tokio::select! {
                biased;
                () = links.lost.notified() => self.drop_lost(&mut links, "the connection was closed"),
                () = self.wanted.changed.notified() => {}
                // The sender of the changes is part of `self`.
                _ = changes.changed() => {}
                Some(opened) = links.opening.join_next(), if !links.opening.is_empty() => {
                    if let Ok((node, link)) = opened {
                        links.opened(&node, link);
                    }
                }
                Some((number, received)) = received.recv() => self.handle(&mut links, number, received).await,
                _ = ticks.tick() => self.check(&mut links),
                () = tokio::time::sleep(REFUSED), if links.incomplete.is_some() => {
                    links.refused.drain().for_each(|channel| self.wanted.compare_again(channel));
                }
            }
        }
    }

    /// Closes the connections that are lost.
    fn drop_lost(&self, links: &mut Links, reason: &'static str) {
        let before = links.open.len();
        links.open.retain(|_, link| !link.lost.is_set());
        if links.open.len() < before {
            links.is_new = true;
            links.awaited = None;
            self.nodes.set_stale();
            self.set_disconnected(reason);
        }
    }

    fn set_disconnected(&self, reason: &'static str) {
        if self.shared.set_disconnected() {
            tracing::warn!(reason, "the connection to Redis is lost: other servers are not reached");
        }
    }

    /// Subscribes to the wanted channels, and unsubscribes from all others.
    async fn reconcile(&self, links: &mut Links) {
        let generation = loop {
            self.follow_topology(links);
            let (generation, changes) = links.changes(&self.wanted);
            if changes.is_empty() {
                break generation;
            }
            let (ends, mut begins) = self.assign(links, changes);
            // Where a channel moves from one node to another, the messages of the first come before those of the
            // second, and none is received twice.
            self.execute(links, ends).await;
            links.postpone(&mut begins);
            self.execute(links, begins).await;
            self.drop_lost(links, "a subscription was refused");
            if !links.refused.is_empty() {
                break generation;
            }
        };
        if !links.is_new && !links.is_waiting && links.refused.is_empty() {
            links.incomplete = None;
            links.backoffs.clear();
            if self.shared.set_subscribed(generation) {
                tracing::info!("connected to the other servers over Redis");
            }
        } else if links.incomplete.get_or_insert_with(Instant::now).elapsed() > GRACE {
            self.set_disconnected("the owner of a slot is not connected");
        }
    }

    /// Compares all channels again if they may belong to other nodes now. Closes connections to former nodes.
    fn follow_topology(&self, links: &mut Links) {
        let routes = self.nodes.routes();
        if let Some(topology) = routes.topology()
            && links.course.follow(routes.clone())
        {
            links.open.retain(|node, _| topology.nodes().contains(node));
            links.is_new = true;
        }
    }

    /// Returns the changes of the subscriptions at each node: first those that end, then those that begin.
    fn assign(&self, links: &mut Links, changes: Vec<(Channel, Subscription)>) -> (Changes, Changes) {
        let (mut ends, mut begins) = (Changes::new(), Changes::new());
        for (channel, users) in changes {
            let owner = links.course.node(channel.slot()).cloned();
            for (node, link) in &mut links.open {
                if Some(node) != owner.as_ref()
                    && let Some(change) = link.change(channel.clone(), Subscription::new())
                {
                    ends.entry(node.clone()).or_default().push(change);
                }
            }
            let settling = links.course.settling(channel.slot());
            match owner.as_ref().and_then(|owner| links.open.get_mut(owner)) {
                Some(link) if settling.is_zero() || users.is_empty() || link.is_subscribed(&channel) => {
                    if let Some((change, owner)) = link.change(channel, users).zip(owner) {
                        let changes = if change.is_subscribe { &mut begins } else { &mut ends };
                        changes.entry(owner).or_default().push(change);
                    }
                }
                Some(_) => drop(links.refused.insert(channel)),
                None if users.is_empty() => {}
                None => {
                    links.is_waiting = true;
                    if let Some(owner) = owner {
                        self.open(links, &owner);
                    }
                }
            }
        }
        (ends, begins)
    }

    async fn execute(&self, links: &mut Links, changes: Changes) {
        let executing = links.open.iter_mut().filter_map(|(node, link)| {
            let changes = changes.get(node)?;
            Some(async move { (node, link.execute(changes).await, &*link.lost) })
        });
        for (node, refused, lost) in join_all(executing).await {
            for (channel, error) in refused {
                if let Some(error) = error {
                    tracing::debug!(%error, "cannot subscribe");
                    match self.nodes.failed(node, channel.slot(), &error) {
                        Failure::Final | Failure::Unknown => lost.set(),
                        Failure::Refused | Failure::Moved(_) | Failure::Ask(_) => {}
                    }
                }
                links.refused.insert(channel);
            }
        }
    }

    async fn handle(&self, links: &mut Links, number: u64, received: Received) {
        let link = links.open.values_mut().find(|link| link.number == number);
        match received {
            Received::Message { channel, name, payload } => {
                let users =
                    link.and_then(|link| Some(link.subscriptions.lock().get_mut(&channel)?.users.clone()));
                let users = users.unwrap_or_default();
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
                links.inputs.release(payload.len());
            }
            Received::Watchdog(sent) if link.is_some() && sent == links.awaited => links.awaited = None,
            Received::Unsubscribed(channel) if link.is_some_and(|link| link.unsubscribed(&channel)) => {
                self.nodes.set_stale();
                if channel == links.watchdog {
                    links.is_new = true;
                } else {
                    self.wanted.compare_again(channel);
                }
            }
            Received::Watchdog(_) | Received::Unsubscribed(_) => {}
        }
    }

    /// Opens a connection in the background.
    fn open(&self, links: &mut Links, node: &Node) {
        if !links.pending.insert(node.clone()) {
            return;
        }
        links.number += 1;
        let receiver = Receiver {
            number: links.number,
            dialect: self.dialect.clone(),
            shared: self.shared.clone(),
            inbox: self.inbox.clone(),
            watchdog: links.watchdog.clone(),
            subscriptions: Arc::default(),
            inputs: links.inputs.clone(),
            lost: Arc::new(Lost::new(links.lost.clone())),
        };
        // The first attempt is not delayed.
        let delay = links.backoffs.get_mut(node).map_or(Duration::ZERO, Backoff::next_delay);
        links.backoffs.entry(node.clone()).or_default();
        let (nodes, node) = (self.nodes.clone(), node.clone());
        links.opening.spawn(async move {
            tokio::time::sleep(delay).await;
            let link = Link::open(&nodes, &node, receiver).await;
            (node, link)
        });
    }

    /// Checks that the connections are not silently dead: publishes a number to this server itself, and asks the
    /// nodes that do not receive it.
    fn check(&self, links: &mut Links) {
        let slot = links.watchdog.slot();
        let node = self.nodes.node(slot);
        for (other, link) in &links.open {
            if Some(other) != node.as_ref() {
                link.ping();
            } else if links.awaited.is_some() {
                link.lost.set();
            }
        }
        if links.awaited.is_some() {
            self.drop_lost(links, "the watchdog has received nothing");
        }
        // Without a connection, nothing is sent to other servers either.
        let is_connected = node.is_some_and(|node| {
            let link = links.open.get(&node);
            self.nodes.connection(&node).is_some()
                && link.is_some_and(|link| link.is_subscribed(&links.watchdog))
        });
        if !is_connected {
            return;
        }
        links.sent += 1;
        links.awaited = Some(links.sent);
        let publish = links.watchdog.publish(links.sent.to_string().as_bytes());
        let nodes = self.nodes.clone();
        tokio::spawn(async move {
            // If the command fails, the number is not received, and the writer cannot send messages either.
            if let Err(error) = nodes.query(slot, &publish.command).await {
                tracing::debug!(%error, "the watchdog cannot send");
            }
        });
    }
}

impl Links {
    fn new(inputs: Inputs, watchdog: Channel) -> Self {
        Self {
            open: HashMap::new(),
            opening: JoinSet::new(),
            pending: HashSet::new(),
            backoffs: HashMap::new(),
            inputs,
            lost: Arc::new(Notify::new()),
            number: 0,
            course: Course::new(SETTLING),
            is_new: true,
            is_waiting: false,
            refused: HashSet::new(),
            incomplete: None,
            watchdog,
            awaited: None,
            sent: 0,
        }
    }

    fn opened(&mut self, node: &Node, link: Option<Link>) {
        self.pending.remove(node);
        self.is_new = true;
        if let Some(link) = link {
            self.open.insert(node.clone(), link);
        }
    }

    /// Removes the subscriptions to channels that another node has not ended yet.
    fn postpone(&mut self, begins: &mut Changes) {
        for (node, changes) in begins {
            let others: Vec<&Link> =
                self.open.iter().filter(|(other, _)| *other != node).map(|(_, link)| link).collect();
            let is_ended = |channel: &Channel| !others.iter().any(|link| link.is_subscribed(channel));
            let (now, later): (Vec<_>, Vec<_>) =
                std::mem::take(changes).into_iter().partition(|change| is_ended(&change.channel));
            *changes = now;
            if let Some(link) = self.open.get_mut(node) {
                for change in &later {
                    link.subscriptions.lock().remove(&change.channel);
                }
            }
            self.refused.extend(later.into_iter().map(|change| change.channel));
        }
    }

    /// Returns the generation of the wanted channels, and the channels that have changed, with their users.
    fn changes(&mut self, wanted: &Wanted<Channel>) -> (u64, Vec<(Channel, Subscription)>) {
        let is_new = std::mem::take(&mut self.is_new);
        let (generation, mut changes) = if is_new { wanted.all() } else { wanted.changes() };
        if is_new {
            self.is_waiting = false;
            self.refused.clear();
            let all: HashSet<&Channel> = changes.iter().map(|(channel, _)| channel).collect();
            let wanted = self.open.values().flat_map(|link| link.subscriptions.lock().wanted());
            let former: Vec<_> = wanted.filter(|channel| !all.contains(channel)).collect();
            changes.extend(former.into_iter().map(|channel| (channel, Subscription::new())));
            changes.retain(|(channel, _)| *channel != self.watchdog);
            let user = User { namespace: "".into(), kind: UserKind::Room };
            changes.push((self.watchdog.clone(), vec![user]));
        }
        (generation, changes)
    }
}
