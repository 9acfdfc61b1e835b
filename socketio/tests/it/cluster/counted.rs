//! Requests to servers that the broker counts and does not name.

use std::time::Duration;

use socketio::{
    AckError, EmitError, Server, ServerConfig,
    cluster::{AckArgs, Inbound, Reply, ReplyBody, ServerId},
};

use super::{broker::TestBroker, clients, impatient, namespace};
use crate::support::{Host, eventually, serve, within};

async fn fleet(broker: &TestBroker, count: usize, config: ServerConfig) -> Vec<Host> {
    let mut hosts = Vec::new();
    for _ in 0..count {
        hosts.push(serve(Server::with_cluster(config.clone(), broker.clone()).namespace(namespace())).await);
    }
    hosts
}

#[tokio::test]
async fn all_answers_arrive_without_names() {
    for count in [1, 2, 3] {
        let broker = TestBroker::default();
        let hosts = fleet(&broker, count, ServerConfig::default()).await;
        let mut clients = clients(&hosts).await;
        let io = &hosts[0].io;
        assert_eq!(within(io.server_count()).await, Ok(count));
        assert_eq!(within(io.of("/").fetch_sockets()).await.unwrap().len(), count);

        let request = io.of("/").emit_with_ack::<usize, _>("question", &()).unwrap();
        for (n, (client, _)) in clients.iter_mut().enumerate() {
            let packet = client.text().await;
            let id = packet.strip_prefix("42").unwrap().strip_suffix(r#"["question"]"#).unwrap();
            client.send(format!("43{id}[{n},1]")).await;
        }
        let all = within(request).await;
        let mut answers: Vec<usize> = all.answers.iter().map(|(_, answer)| *answer).collect();
        answers.sort_unstable();
        assert_eq!(answers, (0..count).collect::<Vec<_>>());
        assert!(all.missing.is_empty() && all.missing_servers.is_empty());
        // The broker does not name the sockets of other servers.
        assert_eq!(all.answers.iter().filter(|(id, _)| id.is_empty()).count(), count - 1);

        let all = within(io.server_side_emit_with_ack::<u32, _>("sum", &(1, 2))).await.unwrap();
        assert_eq!((all.answers.len(), all.missing.len()), (count - 1, 0));
    }
}

#[tokio::test]
async fn silence_is_counted_at_the_timeout() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 3, impatient()).await;
    let mut clients = clients(&hosts).await;
    let io = &hosts[0].io;
    let all = within(io.server_side_emit_with_ack::<u32, _>("hang", &())).await.unwrap();
    assert!(all.answers.is_empty() && all.missing.len() == 2, "{all:?}");
    assert!(all.missing.iter().all(|(id, error)| id.is_unknown() && matches!(error, AckError::Timeout)));

    let request = io.of("/").timeout(Duration::from_millis(100)).emit_with_ack::<u8, _>("question", &());
    let packet = clients[1].0.text().await;
    let id = packet.strip_prefix("42").unwrap().strip_suffix(r#"["question"]"#).unwrap();
    clients[1].0.send(format!("43{id}[5]")).await;
    let all = within(request.unwrap()).await;
    assert_eq!(all.answers, [(String::new(), 5)]);
    assert_eq!(all.missing.len(), 2);
    assert!(all.missing_servers.is_empty(), "all servers have reported");
}

#[tokio::test]
async fn without_the_broker_requests_end_at_once() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 2, ServerConfig::default().requests_timeout(Duration::from_hours(1))).await;
    let mut clients = clients(&hosts).await;
    let io = &hosts[0].io;
    broker.set_away(true);
    assert!(within(io.server_count()).await.is_err());
    let error = within(io.of("/").fetch_sockets()).await.unwrap_err();
    assert_eq!((error.sockets.len(), error.missing.len()), (1, 1));
    let request =
        io.of("/").emit_with_ack::<u8, _>("question", &()).unwrap().timeout(Duration::from_hours(1));
    let packet = clients[0].0.text().await;
    let id = packet.strip_prefix("42").unwrap().strip_suffix(r#"["question"]"#).unwrap();
    clients[0].0.send(format!("43{id}[5]")).await;
    let all = within(request).await;
    assert_eq!((all.answers.len(), all.missing.len(), all.missing_servers.len()), (1, 0, 1));
    let all = within(io.server_side_emit_with_ack::<u32, _>("sum", &(1, 2))).await.unwrap();
    assert_eq!((all.answers.len(), all.missing.len()), (0, 1));
    broker.set_away(false);
    assert_eq!(within(io.of("/").fetch_sockets()).await.unwrap().len(), 2);
    assert!(matches!(io.emit("n", &1), Ok(()) | Err(EmitError::ClusterFull)));
}

#[tokio::test]
async fn nobody_answers_for_another_request_or_twice() {
    let broker = TestBroker::default();
    let hosts = fleet(&broker, 2, impatient()).await;
    let io = &hosts[0].io;
    let to = io.server_id().unwrap();
    let reply = |from: &str, request: &str, body| {
        let (from, request) = (ServerId::from(from), request.into());
        broker.send(to, Inbound::Reply(Reply { from, namespace: "/".into(), request, body }));
    };
    // The requests of a server are numbered.
    let request = format!("{}-0", to.as_str());
    let asking = io.server_side_emit_with_ack::<u32, _>("hang", &());
    let answering = async {
        reply("x", "unknown", ReplyBody::Answer(Some(AckArgs::new("[1]", vec![]))));
        reply("x", &request, ReplyBody::Sockets(vec![]));
        reply("x", &request, ReplyBody::RecipientCount(7));
        reply("x", &request, ReplyBody::Ack(AckArgs::new("[1]", vec![])));
    };
    let (all, ()) = within(futures::future::join(asking, answering)).await;
    let all = all.unwrap();
    // An answer of another kind is one of the answers that are counted, and holds no value.
    assert!(all.answers.is_empty(), "{all:?}");
}

#[test]
fn a_closed_server_leaves_no_task_although_its_broker_keeps_the_inbox() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = TestBroker::default();
        let start = || Server::with_cluster(ServerConfig::default(), broker.clone()).namespace(namespace());
        let (closed, dropped) = (start(), start());
        closed.close().await;
        drop((closed, dropped));
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        eventually(|| tasks() == 0).await;
    });
}
