//! The state of the connection to the broker is recorded once per second.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use socketio::{
    BoxFuture, Namespace, Server, ServerConfig,
    cluster::{
        Backend, Broker, ClusterFull, ClusterStatus, Inbox, Message, Receivers, Reply, ServerId, Unavailable,
    },
};
use testkit::Recorder;
use tokio::time::sleep;

/// A broker whose state the test sets.
#[derive(Clone, Default)]
struct Observed {
    status: Arc<Mutex<ClusterStatus>>,
    servers: Arc<Mutex<usize>>,
}

impl Broker for Observed {
    fn connect(self, _: Inbox) -> Arc<dyn Backend> {
        Arc::new(self)
    }
}

impl Backend for Observed {
    fn publish(&self, _: Arc<Message>) -> Result<(), ClusterFull> {
        Ok(())
    }

    fn request(&self, _: Arc<Message>) -> Receivers {
        Receivers::Known { waiting: vec![], unreachable: vec![] }
    }

    fn reply(&self, _: &ServerId, _: Reply) -> Result<(), ClusterFull> {
        Ok(())
    }

    fn servers(&self) -> Vec<ServerId> {
        vec![]
    }

    fn server_count(&self, _: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        let servers = *self.servers.lock();
        Box::pin(async move { Ok(servers) })
    }

    fn status(&self) -> ClusterStatus {
        self.status.lock().clone()
    }

    fn leave(&self) -> BoxFuture<()> {
        Box::pin(async {})
    }
}

const CONNECTED: &str = "socketio_cluster_connected{}";
const SERVERS: &str = "socketio_cluster_servers{}";
const QUEUED: &str = "socketio_cluster_queued_bytes{}";

#[tokio::test(start_paused = true)]
async fn the_state_of_the_connection_is_recorded() {
    let broker = Observed::default();
    let (mut watched, server) = Recorder::new(|| {
        Server::with_cluster(ServerConfig::default(), broker.clone()).namespace(Namespace::new("/"))
    });
    let second = || sleep(Duration::from_millis(1100));
    second().await;
    watched.assert_changes("socketio_", &[]);

    broker.status.lock().is_connected = true;
    *broker.servers.lock() = 3;
    second().await;
    watched.assert_changes("socketio_", &[(CONNECTED, 1.0), (SERVERS, 3.0)]);

    *broker.status.lock() = {
        let mut away = ClusterStatus::default();
        (away.disconnections, away.queued_bytes, away.dropped, away.malformed) = (1, 500, 2, 4);
        away
    };
    second().await;
    watched.assert_changes(
        "socketio_",
        &[
            (CONNECTED, -1.0),
            (SERVERS, -3.0),
            (QUEUED, 500.0),
            ("socketio_cluster_disconnections_total{}", 1.0),
            ("socketio_cluster_messages_dropped_total{}", 2.0),
            ("socketio_cluster_messages_malformed_total{}", 4.0),
        ],
    );

    // A server that starts or leaves is noticed later, because some brokers have to be asked for the number.
    broker.status.lock().is_connected = true;
    broker.status.lock().queued_bytes = 100;
    second().await;
    *broker.servers.lock() = 2;
    watched.assert_changes("socketio_", &[(CONNECTED, 1.0), (SERVERS, 3.0), (QUEUED, -400.0)]);
    sleep(Duration::from_secs(15)).await;
    watched.assert_changes("socketio_", &[(SERVERS, -1.0)]);

    // A server that has gone is in no gauge.
    drop(server);
    second().await;
    watched.assert_changes("socketio_", &[(CONNECTED, -1.0), (SERVERS, -2.0), (QUEUED, -100.0)]);
}
