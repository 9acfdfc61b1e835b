//! Recovery at any server, with an event log that all servers share.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use socketio::{ConnectionStateRecovery, Namespace, Server, Socket};
use tokio::time::sleep;

use super::broker::TestBroker;
use crate::{
    recovery::{Gone, Visitor, config, noticed},
    support::{Host, eventually, serve, within},
};

fn namespace() -> Namespace<Value> {
    Namespace::with_data("/", Value::Null)
        .share_data()
        .restore_data(|data: Value| data)
        .on("join", async |socket: Socket<Value>, room: String| socket.join(room))
}

async fn fleet(broker: &TestBroker, count: usize) -> Vec<Host> {
    fleet_with(broker, count, ConnectionStateRecovery::default()).await
}

async fn fleet_with(broker: &TestBroker, count: usize, limits: ConnectionStateRecovery) -> Vec<Host> {
    let mut hosts = Vec::new();
    for _ in 0..count {
        let config = config(limits.clone());
        hosts.push(serve(Server::with_cluster(config, broker.clone()).namespace(namespace())).await);
    }
    hosts
}

async fn join(visitor: &mut Visitor, room: &str) {
    assert_eq!(visitor.client.ask(format!(r#"427["join","{room}"]"#)).await, "437[]");
}

/// Disconnects the client, which was the last one of its server.
async fn leave(mut visitor: Visitor, host: &Host) {
    visitor.client.send("41").await;
    eventually(|| host.io.socket_count("/") == 0).await;
}

/// Lets a client receive the event 0, and cuts its connection.
async fn gone_after_one(host: &Host) -> Gone {
    let mut visitor = Visitor::new(host).await;
    host.io.emit("n", &0).unwrap();
    visitor.event().await;
    let gone = visitor.cut();
    noticed(host).await;
    gone
}

#[tokio::test]
async fn all_servers_deliver_in_one_order_and_once() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 3).await;
    let mut visitors = Vec::new();
    for host in &hosts {
        visitors.push(Visitor::new(host).await);
    }
    for n in 0..30 {
        hosts[n % 3].io.emit("n", &n).unwrap();
    }
    let mut orders = Vec::new();
    for visitor in &mut visitors {
        let mut order = Vec::new();
        for _ in 0..30 {
            order.push((visitor.event().await[1].clone(), visitor.offset.clone()));
        }
        orders.push(order);
    }
    assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
}

#[tokio::test]
async fn a_client_returns_to_another_server_with_all_that_it_missed() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 2).await;
    let mut visitor = Visitor::new(&hosts[0]).await;
    join(&mut visitor, "r").await;
    hosts[1].io.to("r").emit("seen", &1).unwrap();
    assert_eq!(visitor.event().await, [json!("seen"), json!(1)]);
    let sid = visitor.sid.clone();
    let gone = visitor.cut();
    noticed(&hosts[0]).await;
    hosts[0].io.to("r").emit("missed", &Bytes::from_static(b"x")).unwrap();
    hosts[1].io.to("other").emit("not for it", &()).unwrap();
    hosts[1].io.emit("missed", &2).unwrap();
    hosts[1].io.volatile().emit("volatile", &3).unwrap();
    hosts[1].io.of("/").except("r").emit("not for it", &()).unwrap();
    let mut visitor = Visitor::with_auth(&hosts[1], &gone.auth).await;
    assert_eq!(visitor.sid, sid);
    assert_eq!(visitor.event().await[0], "missed");
    assert_eq!(visitor.client.binary().await, b"x");
    assert_eq!(visitor.event().await, [json!("missed"), json!(2)]);
    hosts[0].io.to("r").emit("live", &4).unwrap();
    assert_eq!(visitor.event().await, [json!("live"), json!(4)]);
    // A client that leaves by itself is not recovered.
    leave(visitor, &hosts[1]).await;
    let other = Visitor::with_auth(&hosts[0], &gone.auth).await;
    assert_ne!(other.sid, sid);
}

#[tokio::test]
async fn a_client_returns_before_its_end_is_noticed() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 2).await;
    for other in [0, 1] {
        let mut visitor = Visitor::new(&hosts[0]).await;
        join(&mut visitor, "r").await;
        hosts[1].io.to("r").emit("seen", &1).unwrap();
        visitor.event().await;
        hosts[1].io.to("r").emit("unseen", &2).unwrap();
        let mut returned = Visitor::with_auth(&hosts[other], &visitor.auth()).await;
        assert_eq!(returned.sid, visitor.sid);
        assert_eq!(returned.event().await, [json!("unseen"), json!(2)]);
        assert_eq!(visitor.event().await, [json!("unseen"), json!(2)]);
        if other == 1 {
            assert_eq!(visitor.client.text().await, "41");
        }
        visitor.client.ended().await;
        hosts[0].io.to("r").emit("live", &3).unwrap();
        assert_eq!(returned.event().await, [json!("live"), json!(3)]);
        let in_room = |host: &Host| host.io.sockets::<Value>("/").unwrap().count_in("r");
        assert_eq!(hosts.iter().map(in_room).sum::<usize>(), 1);
        leave(returned, &hosts[other]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_connected_sockets_are_saved_again_before_they_expire() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 1).await;
    let mut visitors = Vec::new();
    for _ in 0..100 {
        visitors.push(Visitor::new(&hosts[0]).await);
    }
    let duration = Duration::from_mins(2);
    for _ in 0..4 {
        assert_eq!(broker.take_sessions(), visitors.len());
        sleep(duration / 2 + Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn events_during_the_recovery_arrive_once() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 2).await;
    let gone = gone_after_one(&hosts[0]).await;
    hosts[0].io.emit("n", &1).unwrap();
    let io = hosts[1].io.clone();
    broker.on_read(move || io.emit("n", &2).unwrap());
    let mut visitor = Visitor::with_auth(&hosts[1], &gone.auth).await;
    // The log is not read again, which would not end while events are delivered faster than it is read.
    assert_eq!((&visitor.sid, broker.reads()), (&gone.sid, 1));
    hosts[0].io.emit("n", &3).unwrap();
    for n in 1..=3 {
        assert_eq!(within(visitor.event()).await, [json!("n"), json!(n)]);
    }
}

#[tokio::test]
async fn the_log_is_read_again_if_more_was_delivered_than_a_client_may_miss() {
    let text = "x".repeat(100);
    let bytes = format!(r#"42["other","{text}"]"#).len();
    let by_count = ConnectionStateRecovery::default().max_missed_packets(3);
    let by_bytes = ConnectionStateRecovery::default().max_missed_bytes(3 * bytes);
    for (limits, delivered, reads) in
        [(by_count.clone(), 3, 1), (by_count, 4, 2), (by_bytes.clone(), 3, 1), (by_bytes, 4, 2)]
    {
        let broker = TestBroker::default();
        let hosts = fleet_with(&broker, 2, limits).await;
        let gone = gone_after_one(&hosts[0]).await;
        let (io, text) = (hosts[1].io.clone(), text.clone());
        broker.on_read(move || {
            for _ in 0..delivered {
                io.to("nobody").emit("other", &text).unwrap();
            }
        });
        let mut visitor = Visitor::with_auth(&hosts[1], &gone.auth).await;
        assert_eq!((&visitor.sid, broker.reads()), (&gone.sid, reads), "{delivered}");
        hosts[0].io.emit("n", &1).unwrap();
        assert_eq!(within(visitor.event()).await, [json!("n"), json!(1)]);
    }
}

#[tokio::test]
async fn a_client_that_misses_too_much_while_the_log_is_read_gets_a_new_socket() {
    for (missed, is_recovered) in [(3, true), (4, false)] {
        let broker = TestBroker::default();
        let limits = ConnectionStateRecovery::default().max_missed_packets(3);
        let hosts = fleet_with(&broker, 2, limits).await;
        let gone = gone_after_one(&hosts[0]).await;
        hosts[0].io.emit("n", &1).unwrap();
        let io = hosts[1].io.clone();
        broker.on_read(move || (2..=missed).for_each(|n| io.emit("n", &n).unwrap()));
        let visitor = Visitor::with_auth(&hosts[1], &gone.auth).await;
        assert_eq!((visitor.sid == gone.sid, broker.reads()), (is_recovered, 1));
    }
}

#[tokio::test]
async fn a_gap_in_the_log_is_told() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 2).await;
    let gone = gone_after_one(&hosts[0]).await;
    hosts[0].io.emit("n", &1).unwrap();
    broker.trim(1);
    let visitor = Visitor::with_auth(&hosts[1], &gone.auth).await;
    assert_ne!(visitor.sid, gone.sid);
}

#[tokio::test]
async fn without_the_broker_local_clients_receive_events_without_offsets() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 1).await;
    let mut visitor = Visitor::new(&hosts[0]).await;
    broker.set_away(true);
    hosts[0].io.emit("n", &1).unwrap();
    assert_eq!(visitor.client.text().await, r#"42["n",1]"#);
    broker.set_away(false);
    hosts[0].io.emit("n", &2).unwrap();
    assert_eq!(visitor.event().await, [json!("n"), json!(2)]);
}

#[tokio::test]
async fn a_server_that_has_closed_is_freed() {
    let state = Arc::new(());
    let held = state.clone();
    let namespace = namespace().on("hold", async move |_, ()| drop(held));
    // Sessions are saved again every few milliseconds.
    let recovery = ConnectionStateRecovery::default().max_disconnection_duration(Duration::from_millis(100));
    let config = config(recovery);
    let host = serve(Server::with_cluster(config, TestBroker::default()).namespace(namespace)).await;
    drop(Visitor::new(&host).await);
    host.io.close().await;
    drop(host);
    eventually(|| Arc::strong_count(&state) == 1).await;
}
