//! Checks of full queues and of unusual messages.

use tokio::runtime::{Handle, RuntimeFlavor};

use super::fleet::{Fleets, config, eventually, prompt, until_end};
use crate::{
    event::error::EmitError,
    hub::cluster::{Reply, ReplyBody, ServerId},
};

/// More than any queue holds.
const MANY: usize = 50_000;
/// The queue of a server for messages of others, which a `MemoryBus` fills.
const MAX_MESSAGES: usize = 1000;

pub(super) async fn full_queue(fleets: &Fleets<'_>) {
    let is_single = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
    assert!(is_single, "`check_broker` must run in a runtime of one thread");
    let fleet = fleets.start_with(2, &config().max_cluster_messages(MAX_MESSAGES)).await;
    let mut clients = [fleet.client(0).await, fleet.client(1).await];
    let (io, text) = (fleet.server(0), "x".repeat(2048));
    // The tasks of this runtime do not run meanwhile, so the messages stay in the queue.
    let result = (0..MANY).try_for_each(|_| io.to("nobody").emit("n", text.as_str()));
    match result {
        Err(EmitError::ClusterFull) => {}
        Err(error) => panic!("a full queue is reported as `{error}`"),
        Ok(()) => {
            panic!("the queue to the other servers takes {MANY} messages of 2 KiB, so it is not bounded")
        }
    }
    // The local client receives the event nevertheless.
    let error = io.emit("local", &());
    assert!(matches!(error, Err(EmitError::ClusterFull)), "the queue is full, but takes an event: {error:?}");
    // Whether the servers were reached depends on how fast the queue is emptied.
    let _ = prompt("a request with a full queue", io.of("/").fetch_sockets()).await;
    let () = clients[0].expect("local").await;
    eventually("the queue is emptied", async || io.emit("after", &()).is_ok()).await;
    fleet.end(0);
    let events = until_end(&mut clients[1]).await;
    let is_right = events.iter().filter(|event| event.name == "after").count() == 1;
    assert!(is_right, "after the queue was full, an event arrives as {events:?}");
    fleet.close().await;
}

pub(super) async fn long_messages(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(2).await;
    let io = fleet.server(0);
    let dropped = || io.cluster_status().map_or(0, |status| status.dropped);
    for megabytes in [1, 4] {
        let (before, text) = (dropped(), "x".repeat(megabytes * 1024 * 1024));
        let emitted = io.emit("long", text.as_str());
        assert!(matches!(emitted, Ok(()) | Err(EmitError::ClusterFull)), "{emitted:?}");
        eventually("the queue is emptied", async || io.emit("end", &()).is_ok()).await;
        let received = until_end(&mut clients[1]).await;
        let is_received =
            received.iter().any(|event| event.args.get(0).is_ok_and(|long: String| long == text));
        assert!(
            is_received || emitted.is_err() || dropped() > before,
            "a message of {megabytes} MiB neither arrives nor is counted as dropped"
        );
    }
    fleet.close().await;
}

pub(super) async fn stray_reply(fleets: &Fleets<'_>) {
    let (fleet, mut clients) = fleets.start_with_clients(2).await;
    if let Some(cluster) = fleet.server(0).cluster() {
        for to in [ServerId::from("nobody"), ServerId::from("ä *>.#'%$"), cluster.id.clone()] {
            let (from, namespace) = (cluster.id.clone(), "/".into());
            let reply = Reply { from, namespace, request: "none".into(), body: ReplyBody::Answer(None) };
            // The result is not specified.
            let _ = cluster.backend().reply(&to, reply);
        }
    }
    fleet.end(0);
    let received = until_end(&mut clients[1]).await;
    assert!(received.is_empty(), "{received:?}");
    fleet.close().await;
}
