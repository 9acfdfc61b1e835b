//! The servers of Redis: finds them, keeps a connection for commands to each, and follows them when they change.
//!
//! A server alone, the master of sentinels and the masters of a cluster are the same here: nodes, of which each has
//! slots. A task asks for the [`Topology`] at an interval, and whenever a connection is lost or a command was sent
//! to the wrong server. For each node there is a task that opens a connection, and opens it again when it is lost.

mod address;
mod failure;
mod keeper;
mod plain;
mod redirect;
mod routes;
mod topology;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, Cmd, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use socketio_broker::{Backoff, Shared};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::timeout,
};

pub(crate) use address::Address;
pub(crate) use failure::{Failure, is_lost};
pub(crate) use keeper::Lost;
pub(crate) use plain::{OpenConnection, Plain, Stream};
pub(crate) use redirect::{Connections, execute, query};
pub(crate) use routes::{Course, Routes};
pub(crate) use topology::{Node, Topology, slot_of};

/// The time within which Redis must connect and respond.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the sentinels are asked for the master, at least.
pub(crate) const SENTINEL_INTERVAL: Duration = Duration::from_secs(1);

/// The servers, and the connections for commands.
#[derive(Debug)]
pub(crate) struct Nodes {
    address: Address,
    shared: Arc<Shared>,
    /// How often the topology and the connections are checked.
    interval: Duration,
    state: Mutex<State>,
    /// The number of changes of the topology and of the connections.
    changes: watch::Sender<u64>,
    /// Notified if the topology may have changed.
    stale: Notify,
    attempts: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    topology: Option<Arc<Topology>>,
    /// The node for commands and channels without a slot. Messages of one server that are published at several
    /// nodes would not keep their order.
    home: Option<Node>,
    open: HashMap<Node, Commands>,
    keepers: HashMap<Node, AbortHandle>,
    is_closed: bool,
}

/// A connection for commands.
#[derive(Debug, Clone)]
struct Commands {
    connection: MultiplexedConnection,
    lost: Arc<Lost>,
}

impl Nodes {
    pub(crate) fn new(address: Address, shared: Arc<Shared>, interval: Duration) -> Arc<Self> {
        let topology = address.fixed().map(Arc::new);
        let home = topology.as_ref().and_then(|topology| topology.nodes().first().cloned());
        let state = Mutex::new(State { topology, home, ..State::default() });
        let (changes, attempts) = (watch::Sender::new(0), AtomicUsize::new(0));
        Arc::new(Self { address, shared, interval, state, changes, stale: Notify::new(), attempts })
    }

    /// Follows the topology until the server leaves the cluster.
    pub(crate) async fn run(self: Arc<Self>) {
        let shared = self.shared.clone();
        tokio::select! {
            () = self.clone().follow() => {}
            () = shared.leaving() => {}
        }
    }

    async fn follow(self: Arc<Self>) {
        if self.address.fixed().is_some() {
            self.keep_connections();
            return;
        }
        // A former master keeps its connections until a sentinel makes it a replica, which may take long.
        let interval =
            if self.address.is_cluster() { self.interval } else { self.interval.min(SENTINEL_INTERVAL) };
        let mut backoff = Backoff::default();
        loop {
            match self.discover().await {
                Ok(topology) => {
                    if self.set_topology(topology) {
                        backoff = Backoff::default();
                    }
                    self.keep_connections();
                }
                Err(error) => self.log_unreachable(&error),
            }
            // Something that is stale all the time, such as a master that is down, is asked for less often.
            tokio::time::sleep(backoff.next_delay()).await;
            if timeout(interval, self.stale.notified()).await.is_err() {
                backoff = Backoff::default();
            }
        }
    }

    async fn discover(&self) -> RedisResult<Topology> {
        let mut known: Vec<Node> =
            self.topology().map(|topology| topology.nodes().to_vec()).unwrap_or_default();
        // The view of one server may be wrong for a long time.
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        if !known.is_empty() {
            let len = known.len();
            known.rotate_left(attempt % len);
        }
        self.address.discover(&known).await
    }

    /// Returns `true` if the topology has changed.
    fn set_topology(&self, topology: Topology) -> bool {
        let mut state = self.state.lock();
        if state.topology.as_deref() == Some(&topology) {
            return false;
        }
        if !state.home.as_ref().is_some_and(|home| topology.nodes().contains(home)) {
            let at = self.attempts.load(Ordering::Relaxed) % topology.nodes().len();
            state.home = topology.nodes().get(at).cloned();
        }
        state.topology = Some(Arc::new(topology));
        drop(state);
        self.notify();
        true
    }

    /// Starts a task for each node that has none, and ends those of former nodes.
    fn keep_connections(self: &Arc<Self>) {
        let Some(topology) = self.topology() else { return };
        let mut state = self.state.lock();
        let State { keepers, open, .. } = &mut *state;
        keepers.retain(|node, keeper| {
            let is_kept = topology.all().any(|known| known == node);
            if !is_kept {
                keeper.abort();
                open.remove(node);
            }
            is_kept
        });
        drop(state);
        for node in topology.all() {
            self.keep(node);
        }
    }

    /// Starts the task of a node if it has none.
    fn keep(self: &Arc<Self>, node: &Node) {
        let mut state = self.state.lock();
        if !state.is_closed && !state.keepers.contains_key(node) {
            let keeper = tokio::spawn(keeper::keep(self.clone(), node.clone()));
            state.keepers.insert(node.clone(), keeper.abort_handle());
        }
    }

    /// Adds the connection of a keeper. Returns `false` if it is no longer wanted.
    fn insert(&self, node: &Node, commands: Commands) -> bool {
        let mut state = self.state.lock();
        let is_kept = state.keepers.contains_key(node);
        if is_kept {
            state.open.insert(node.clone(), commands);
        }
        drop(state);
        self.notify();
        is_kept
    }

    /// Closes the connections.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.keepers.drain().for_each(|(_, keeper)| keeper.abort());
        state.open.clear();
    }

    fn notify(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Returns a receiver that is notified when the topology or a connection has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Asks for the topology again.
    pub(crate) fn set_stale(&self) {
        self.stale.notify_one();
    }

    pub(crate) fn topology(&self) -> Option<Arc<Topology>> {
        self.state.lock().topology.clone()
    }

    /// Returns `true` if the subscribers of a channel without a slot may be at several nodes.
    pub(crate) fn is_cluster(&self) -> bool {
        self.address.is_cluster()
    }

    /// Returns the nodes of all slots at this moment.
    pub(crate) fn routes(&self) -> Routes {
        let state = self.state.lock();
        Routes::new(state.topology.clone(), state.home.clone())
    }

    /// Returns the node that has a slot, or the one for what has no slot.
    pub(crate) fn node(&self, slot: Option<u16>) -> Option<Node> {
        self.routes().node(slot).cloned()
    }

    /// Chooses another node for what has no slot, because this one cannot be reached.
    pub(crate) fn leave_home(&self, node: &Node) {
        let mut state = self.state.lock();
        let Some(topology) = &state.topology else { return };
        if topology.nodes().len() > 1
            && state.home.as_ref() == Some(node)
            && let Some(at) = topology.nodes().iter().position(|known| known == node)
        {
            state.home = topology.nodes().get((at + 1) % topology.nodes().len()).cloned();
            drop(state);
            self.notify();
        }
    }

    /// Returns the connection to a node, or `None` if it is not connected.
    pub(crate) fn connection(&self, node: &Node) -> Option<MultiplexedConnection> {
        let state = self.state.lock();
        let commands = state.open.get(node)?;
        (!commands.lost.is_set()).then(|| commands.connection.clone())
    }

    /// Makes the connection to a node be opened again.
    pub(crate) fn set_lost(&self, node: &Node) {
        if let Some(commands) = self.state.lock().open.get(node) {
            commands.lost.set();
        }
    }

    /// Handles an error of a command that a node has returned. Returns what follows from it.
    pub(crate) fn failed(self: &Arc<Self>, node: &Node, slot: Option<u16>, error: &RedisError) -> Failure {
        let failure = Failure::of(node, error);
        match &failure {
            // The node may have no slots yet.
            Failure::Ask(target) => self.keep(target),
            Failure::Moved(target) => {
                let moved = slot.and_then(|slot| Some(self.topology()?.moved(slot, target.clone())));
                if let Some(topology) = moved {
                    self.set_topology(topology);
                    self.keep_connections();
                }
                self.set_stale();
            }
            Failure::Refused => self.set_stale(),
            Failure::Final => {}
            Failure::Unknown => {
                self.set_lost(node);
                self.set_stale();
            }
        }
        failure
    }

    /// Executes a command at the node that has the slot. Does nothing twice: an error after which the command may
    /// have been executed is returned.
    pub(crate) async fn query(self: &Arc<Self>, slot: Option<u16>, command: &Cmd) -> RedisResult<Value> {
        query(self, slot, command).await
    }

    /// Returns the connections to all nodes, or `None` if a node is not connected.
    pub(crate) fn connections(&self) -> Option<Vec<MultiplexedConnection>> {
        self.topology()?.nodes().iter().map(|node| self.connection(node)).collect()
    }

    /// Returns the connections to the replicas that are connected.
    pub(crate) fn replicas(&self) -> Vec<MultiplexedConnection> {
        let Some(topology) = self.topology() else { return Vec::new() };
        topology.replicas().iter().filter_map(|node| self.connection(node)).collect()
    }

    /// Opens a connection. Returns `None` if the node cannot be reached, which is logged once until Redis is
    /// connected again.
    pub(crate) async fn connect(
        &self,
        node: &Node,
        config: AsyncConnectionConfig,
    ) -> Option<MultiplexedConnection> {
        self.connected(node, self.address.connect(node, config).await)
    }

    /// Like [`connect`](Self::connect), but reads through a filter, if the connection has no TLS.
    pub(crate) async fn connect_filtered<S: Stream>(
        &self,
        node: &Node,
        config: AsyncConnectionConfig,
        filter: impl FnOnce(Plain) -> S,
    ) -> Option<OpenConnection> {
        self.connected(node, self.address.connect_filtered(node, config, filter).await)
    }

    fn connected<T>(&self, node: &Node, result: RedisResult<T>) -> Option<T> {
        match result {
            Ok(connection) => Some(connection),
            Err(error) => {
                tracing::debug!(%node, %error, "cannot connect to a node");
                if self.topology().is_some_and(|topology| topology.replicas().contains(node)) {
                    return None;
                }
                self.log_unreachable(&error);
                self.set_stale();
                self.leave_home(node);
                None
            }
        }
    }

    fn log_unreachable(&self, error: &RedisError) {
        if self.shared.set_unreachable() {
            tracing::warn!(%error, "cannot connect to Redis; trying again until it succeeds");
        } else {
            tracing::debug!(%error, "cannot connect to Redis");
        }
    }
}

impl Connections for Arc<Nodes> {
    async fn connection(
        &self,
        slot: Option<u16>,
        asked: Option<Node>,
    ) -> RedisResult<(Node, MultiplexedConnection)> {
        let node = asked.or_else(|| self.node(slot));
        node.and_then(|node| Nodes::connection(self, &node).map(|connection| (node, connection)))
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    async fn failed(&self, node: &Node, slot: Option<u16>, error: &RedisError) -> Failure {
        Nodes::failed(self, node, slot, error)
    }
}
