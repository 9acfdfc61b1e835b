//! The task that saves the sessions of connected sockets again, before they expire.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{hub::cluster::Cluster, registry::Namespaces};

/// The number of parts into which the sockets are divided, so that their sessions are not queued all at once.
const PARTS: u32 = 32;

/// Saves the session of each socket once in this interval, until the server leaves the cluster.
pub(crate) async fn refresh_sessions(
    cluster: Arc<Cluster>,
    namespaces: Arc<Namespaces>,
    refresh_interval: Duration,
) {
    let mut ticks = interval((refresh_interval / PARTS).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for part in (0..PARTS).cycle() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = cluster.left() => return,
        }
        for adapter in namespaces.adapters() {
            adapter.refresh_sessions(part, PARTS);
        }
    }
}
