//! A server that never responds is reported as missing, and the answers of other servers are not lost.

use std::time::Duration;

use socketio::{AckError, EmitError, JoinError, MemoryBus, ServerConfig};

use super::{Silent, clients, impatient, is_silent, on_bus};
use crate::support::within;

#[tokio::test]
async fn what_the_others_have_answered_is_told_with_who_is_missing() {
    let bus = MemoryBus::new();
    let hosts = [on_bus(&bus, impatient()).await, on_bus(&bus, impatient()).await];
    let silent = Silent::on_bus(&bus);
    let mut clients = clients(&hosts).await;
    let io = &hosts[0].io;

    let error = within(io.of("/").fetch_sockets()).await.unwrap_err();
    assert_eq!((error.sockets.len(), &error.missing[..]), (2, &[silent.id()][..]));

    let request = io.of("/").emit_with_ack::<u8, _>("question", &()).unwrap();
    for (client, _) in &mut clients {
        assert_eq!(client.text().await, r#"420["question"]"#);
        client.send("430[1]").await;
    }
    let all = within(request).await;
    assert_eq!((all.answers.len(), all.missing.len(), all.missing_servers), (2, 0, vec![silent.id()]));

    let all = within(io.server_side_emit_with_ack::<u32, _>("sum", &(1, 2))).await.unwrap();
    assert!(all.answers.iter().map(|(_, sum)| *sum).eq([3]));
    assert!(matches!(&all.missing[..], [(server, AckError::Timeout)] if *server == silent.id()));

    // A server that has left the cluster is not waited for.
    drop(silent);
    within(async {
        while io.server_count().await != Ok(2) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(within(io.of("/").fetch_sockets()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn its_end_completes_requests() {
    let bus = MemoryBus::new();
    let hosts = [on_bus(&bus, ServerConfig::default().requests_timeout(Duration::from_hours(1))).await];
    let silent = Silent::on_bus(&bus);
    let _client = clients(&hosts).await;
    let fetching = hosts[0].io.of("/").fetch_sockets();
    let leaving = async { drop(silent) };
    let (found, ()) = within(futures::future::join(fetching, leaving)).await;
    assert_eq!(found.unwrap().len(), 1);
}

#[tokio::test]
async fn its_queue_is_limited_exactly_and_local_delivery_does_not_care() {
    let bus = MemoryBus::new();
    let hosts = [on_bus(&bus, ServerConfig::default()).await];
    let silent = Silent::with_config(&bus, ServerConfig::default().max_cluster_messages(3));
    let mut clients = clients(&hosts).await;
    let io = &hosts[0].io;
    for n in 0..3 {
        io.emit("n", &n).unwrap();
    }
    assert!(matches!(io.emit("n", &3), Err(EmitError::ClusterFull)));
    assert!(matches!(io.of("/").sockets_join(["x"]), Err(JoinError::ClusterFull)));
    assert!(matches!(io.of("/").sockets_leave(["x"]), Err(EmitError::ClusterFull)));
    assert!(matches!(io.to("nobody").close_sockets(), Err(EmitError::ClusterFull)));
    assert!(matches!(io.server_side_emit("x", &()), Err(EmitError::ClusterFull)));
    io.of("/").local().emit("n", &4).unwrap();
    for n in 0..5 {
        assert_eq!(clients[0].0.text().await, format!(r#"42["n",{n}]"#));
    }
    // A server whose queue is full is reported as missing immediately.
    let error = within(io.of("/").fetch_sockets()).await.unwrap_err();
    assert_eq!((error.sockets.len(), &error.missing[..]), (1, &[silent.id()][..]));
    let request = io.to("nobody").emit_with_ack::<u8, _>("question", &()).unwrap();
    let all = within(request.timeout(Duration::from_hours(1))).await;
    assert_eq!(all.missing_servers, [silent.id()]);
    is_silent(&mut clients[0]).await;
}
