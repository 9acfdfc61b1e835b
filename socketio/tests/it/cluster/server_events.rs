//! Events between servers.

use std::time::Duration;

use futures::future::join;
use socketio::{AckError, EmitError, Namespace, Server, ServerAnswers, ServerConfig};

use super::{clients, fleet, impatient, is_silent};
use crate::support::{Host, within};

async fn sum(host: &Host) -> ServerAnswers<u32> {
    within(host.io.server_side_emit_with_ack("sum", &(1, 2))).await.unwrap()
}

#[tokio::test]
async fn an_event_reaches_all_other_servers_in_order() {
    for count in [2, 3] {
        let hosts = fleet(count, ServerConfig::default()).await;
        let mut clients = clients(&hosts).await;
        for n in 0..20 {
            hosts[0].io.server_side_emit("say", &n.to_string()).unwrap();
        }
        is_silent(&mut clients[0]).await;
        for client in &mut clients[1..] {
            for n in 0..20 {
                assert_eq!(client.0.text().await, format!(r#"42["said","{n}"]"#));
            }
            is_silent(client).await;
        }
    }
}

#[tokio::test]
async fn answers_come_from_all_other_servers() {
    for count in [2, 3] {
        let hosts = fleet(count, ServerConfig::default()).await;
        let all = sum(&hosts[0]).await;
        assert!(all.missing.is_empty());
        let mut answered: Vec<_> =
            all.answers.iter().map(|(server, sum)| (server.to_string(), *sum)).collect();
        let mut others: Vec<_> =
            hosts[1..].iter().map(|host| (host.io.server_id().unwrap().to_string(), 3)).collect();
        answered.sort_unstable();
        others.sort_unstable();
        assert_eq!(answered, others);
    }
}

#[tokio::test]
async fn without_another_server_there_is_no_answer_at_once() {
    let alone = fleet(1, ServerConfig::default()).await.remove(0).io;
    let apart = Server::new().namespace(Namespace::new("/"));
    assert_eq!((alone.server_count().await, apart.server_count().await), (Ok(1), Ok(1)));
    assert!(alone.server_id().is_some() && apart.server_id().is_none());
    for io in [alone, apart] {
        io.server_side_emit("sum", &(1, 2)).unwrap();
        let all = within(io.server_side_emit_with_ack::<u32, _>("sum", &(1, 2))).await.unwrap();
        assert!(all.answers.is_empty() && all.missing.is_empty());
        assert!(matches!(io.server_side_emit("disconnect", &()), Err(EmitError::ReservedEvent)));
        assert!(matches!(io.of("/x").server_side_emit("x", &()), Err(EmitError::UnknownNamespace)));
    }
}

#[tokio::test]
async fn a_server_without_an_answer_says_so() {
    let hosts = fleet(2, ServerConfig::default()).await;
    let id = hosts[1].io.server_id().unwrap();
    for event in ["nobody listens", "say", "panic"] {
        let all = within(hosts[0].io.server_side_emit_with_ack::<u32, _>(event, &())).await.unwrap();
        let [(server, error)] = &all.missing[..] else { panic!("{event}: {all:?}") };
        assert_eq!(server, id);
        match (event, error) {
            // A server responds with an error if the arguments do not fit or the handler panics.
            ("say" | "panic", AckError::Decode(_)) | ("nobody listens", AckError::Unanswered) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sum(&hosts[0]).await.answers.len(), 1, "it goes on");
}

#[tokio::test]
async fn a_handler_that_hangs_is_missing_and_disturbs_nobody() {
    let hosts = fleet(2, impatient()).await;
    let all = within(hosts[0].io.server_side_emit_with_ack::<(), _>("hang", &())).await.unwrap();
    assert!(
        matches!(&all.missing[..], [(server, AckError::Timeout)] if server == hosts[1].io.server_id().unwrap())
    );
    assert_eq!(sum(&hosts[0]).await.answers.len(), 1);
}

#[tokio::test]
async fn the_limit_of_what_runs_for_others_is_exact() {
    let hosts = fleet(2, impatient().max_cluster_requests(2)).await;
    hosts[0].io.server_side_emit("hang", &()).unwrap();
    assert_eq!(sum(&hosts[0]).await.answers.len(), 1, "there is a place");
    hosts[0].io.server_side_emit("hang", &()).unwrap();
    let all = sum(&hosts[0]).await;
    assert!(matches!(&all.missing[..], [(_, AckError::Unanswered)]), "{all:?}");
    let asked = hosts[0].io.of("/").emit_with_ack::<(), _>("question", &()).unwrap();
    assert_eq!(within(asked.timeout(Duration::from_millis(200))).await.missing_servers.len(), 1);
    assert_eq!(sum(&hosts[1]).await.answers.len(), 1, "the other has places");
}

#[tokio::test]
async fn a_server_that_leaves_is_not_waited_for() {
    let hosts = fleet(2, ServerConfig::default().requests_timeout(Duration::from_hours(1))).await;
    let asking = hosts[0].io.server_side_emit_with_ack::<(), _>("hang", &());
    let leaving = async {
        // `join` polls the request first, so it has been sent.
        hosts[1].io.close().await;
    };
    let (all, ()) = within(join(asking, leaving)).await;
    let all = all.unwrap();
    assert!(all.answers.is_empty() && all.missing.is_empty());
}
