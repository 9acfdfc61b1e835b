//! Tests what the health service reports of a cluster.

use socketio::{Namespace, Server, ServerConfig};

use super::broker::TestBroker;
use crate::server::health::get;

#[tokio::test]
async fn a_server_without_its_broker_is_ready_unless_the_cluster_is_required() {
    let broker = TestBroker::default();
    let io = Server::with_cluster(ServerConfig::default(), broker.clone()).namespace(Namespace::new("/"));
    let [lenient, strict] = [io.health(), io.health().require_cluster(true)];
    let body = |ready: bool, connected: bool| {
        format!(
            r#"{{"live":true,"ready":{ready},"draining":false,"sessions":0,"cluster":{{"connected":{connected},"disconnections":0,"queued_bytes":0}}}}"#
        )
    };
    for connected in [true, false, true] {
        broker.set_away(!connected);
        assert_eq!(get(lenient.clone(), "/ready").await, (200, body(true, connected)));
        let status = if connected { 200 } else { 503 };
        assert_eq!(get(strict.clone(), "/ready").await, (status, body(connected, connected)));
        // A restart does not bring the broker back.
        assert_eq!(get(strict.clone(), "/live").await, (200, body(connected, connected)));
    }
    io.drain();
    assert_eq!(get(lenient, "/ready").await.0, 503);
}
