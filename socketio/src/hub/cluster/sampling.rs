//! Records the state of the connection to the broker as metrics.

use std::{future::Future, sync::Weak, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::Cluster;
use crate::metrics::{ClusterMetrics, ClusterSample};

/// The time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of samples for which a number of servers is valid. Some brokers have to be asked for it.
const SAMPLES_PER_COUNT: usize = 15;
/// The namespace whose servers are counted, as in [`Server::server_count`](crate::Server::server_count).
const ROOT: &str = "/";

/// Creates the metrics, and records them until the cluster is dropped.
pub(crate) fn sample(cluster: Weak<Cluster>) -> impl Future<Output = ()> + Send {
    let mut metrics = ClusterMetrics::new();
    async move {
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut servers = 0;
        for sample in (0..SAMPLES_PER_COUNT).cycle() {
            interval.tick().await;
            let Some(cluster) = cluster.upgrade() else { break };
            let status = cluster.backend().status();
            if !status.is_connected {
                servers = 0;
            } else if sample == 0 || servers == 0 {
                servers = cluster.backend().server_count(ROOT.into()).await.unwrap_or_default();
            }
            metrics.record(ClusterSample {
                is_connected: status.is_connected,
                servers,
                queued_bytes: status.queued_bytes,
                disconnections: status.disconnections,
                dropped: status.dropped,
                malformed: status.malformed,
            });
        }
    }
}
