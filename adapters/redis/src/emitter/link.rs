//! The connections of an emitter.

use std::{collections::HashMap, sync::Arc};

use redis::{AsyncConnectionConfig, RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    dialect::Publish,
    nodes::{Address, Connections, Failure, Node, RESPONSE_TIMEOUT, SENTINEL_INTERVAL, Topology, query},
};

/// Connections that are opened when they are needed first, and again after an error. There are no tasks, so an emitter
/// costs nothing while it is not used.
pub(super) struct Link {
    address: Address,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Unknown at first, and after an error.
    topology: Option<Arc<Topology>>,
    /// The last topology, and when it was found.
    former: Option<(Arc<Topology>, Instant)>,
    /// The node for messages without a slot. It is kept, so that they keep their order.
    home: Option<Node>,
    open: HashMap<Node, MultiplexedConnection>,
    /// The number of attempts to connect that have failed.
    failures: usize,
}

impl Link {
    pub(super) fn new(address: Address) -> Self {
        Self { address, state: Mutex::default() }
    }

    /// Sends a message to the node that has its slot. Sends nothing twice: returns an error after which the message may
    /// have been sent.
    pub(super) async fn send(&self, publish: &Publish) -> RedisResult<()> {
        query(self, publish.slot, &publish.command).await.map(drop)
    }
}

impl Connections for Link {
    async fn connection(
        &self,
        slot: Option<u16>,
        asked: Option<Node>,
    ) -> RedisResult<(Node, MultiplexedConnection)> {
        let mut state = self.state.lock().await;
        let State { topology, former, home, open, failures } = &mut *state;
        if self.address.is_sentinel()
            && former.as_ref().is_some_and(|(_, found)| found.elapsed() > SENTINEL_INTERVAL)
        {
            // A former master takes messages, but nobody receives them.
            *topology = None;
        }
        let known = if let Some(topology) = topology {
            topology.clone()
        } else {
            let found = if let Some(fixed) = self.address.fixed() {
                Arc::new(fixed)
            } else {
                let found = self.address.discover(&open.keys().cloned().collect::<Vec<_>>()).await;
                match (found, &former) {
                    (Ok(found), _) => Arc::new(found),
                    (Err(_), Some((former, _))) => former.clone(),
                    (Err(error), None) => return Err(error),
                }
            };
            *former = Some((found.clone(), Instant::now()));
            topology.insert(found).clone()
        };
        if home.as_ref().is_none_or(|home| !known.nodes().contains(home)) {
            *home = known.nodes().get(*failures % known.nodes().len()).cloned();
        }
        let owner = asked.or_else(|| slot.map_or_else(|| home.clone(), |slot| known.owner(slot).cloned()));
        let node = owner.ok_or_else(|| std::io::Error::other("no server has the slot"))?;
        if let Some(connection) = open.get(&node) {
            return Ok((node, connection.clone()));
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_TIMEOUT));
        match self.address.connect(&node, config).await {
            Ok(connection) => Ok((node.clone(), open.entry(node).insert_entry(connection).get().clone())),
            Err(error) => {
                (*topology, *home) = (None, None);
                *failures += 1;
                Err(error)
            }
        }
    }
    async fn failed(&self, node: &Node, slot: Option<u16>, error: &RedisError) -> Failure {
        let failure = Failure::of(node, error);
        let mut state = self.state.lock().await;
        match (&failure, slot, &state.topology) {
            (Failure::Ask(_) | Failure::Final, ..) => {}
            (Failure::Moved(target), Some(slot), Some(topology)) => {
                state.topology = Some(Arc::new(topology.moved(slot, target.clone())));
            }
            (Failure::Moved(_) | Failure::Refused, ..) => state.topology = None,
            (Failure::Unknown, ..) => {
                state.topology = None;
                state.open.remove(node);
            }
        }
        failure
    }
}
