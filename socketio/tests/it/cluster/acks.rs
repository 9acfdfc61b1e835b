//! Broadcasts with acknowledgements collect the answers from all servers.

use std::time::Duration;

use futures::StreamExt;
use socketio::{AckError, BroadcastAckRequest, Namespace, ServerConfig};

use super::{clients, fleet, impatient, is_silent};
use crate::support::{Client, Host, within};

fn ask(host: &Host) -> BroadcastAckRequest<usize> {
    host.io.to("all").emit_with_ack("question", &()).unwrap().timeout(Duration::from_secs(20))
}

async fn question(client: &mut Client) -> String {
    let packet = client.text().await;
    let id = packet.strip_prefix("42").and_then(|packet| packet.strip_suffix(r#"["question"]"#));
    id.unwrap_or_else(|| panic!("{packet}")).to_owned()
}

#[tokio::test]
async fn answers_come_from_all_servers() {
    for count in [2, 3] {
        let hosts = fleet(count, ServerConfig::default()).await;
        let mut clients = clients(&hosts).await;
        for host in &hosts[..2] {
            let request = ask(host);
            let mut expected = Vec::new();
            for (n, (client, id)) in clients.iter_mut().enumerate() {
                let question = question(client).await;
                client.send(format!("43{question}[{n}]")).await;
                client.send(format!("43{question}[66]")).await;
                expected.push((id.clone(), n));
            }
            let mut all = within(request).await;
            assert!(all.missing.is_empty() && all.missing_servers.is_empty(), "{all:?}");
            all.answers.sort_unstable();
            expected.sort_unstable();
            assert_eq!(all.answers, expected);
        }
    }
}

#[tokio::test]
async fn one_who_leaves_another_server_is_told_at_once() {
    let hosts = fleet(2, ServerConfig::default()).await;
    let mut clients = clients(&hosts).await;
    let mut request = ask(&hosts[0]);
    question(&mut clients[1].0).await;
    clients[1].0.send("41").await;
    let (id, answer) = within(request.next()).await.unwrap();
    assert_eq!(id, clients[1].1);
    assert!(matches!(answer, Err(AckError::Disconnected)), "{answer:?}");
    let id = question(&mut clients[0].0).await;
    clients[0].0.send(format!("43{id}[1]")).await;
    assert!(within(request.next()).await.unwrap().1.is_ok());
    assert!(within(request.next()).await.is_none());
}

#[tokio::test]
async fn one_who_is_late_is_named_and_its_place_is_free_again() {
    let hosts = fleet(2, impatient().max_pending_acks(1_usize)).await;
    let mut clients = clients(&hosts).await;
    for _ in 0..3 {
        let request = ask(&hosts[0]).timeout(Duration::from_millis(100));
        for (client, _) in &mut clients {
            question(client).await;
        }
        let all = within(request).await;
        assert_eq!((all.answers.len(), all.missing.len(), all.missing_servers.len()), (0, 2, 0));
        assert!(all.missing.iter().all(|(_, error)| matches!(error, AckError::Timeout)), "{all:?}");
        // Dropping a request removes it on all servers.
        drop(ask(&hosts[0]));
        for (client, _) in &mut clients {
            question(client).await;
        }
    }
    for client in &mut clients {
        is_silent(client).await;
    }
}

#[tokio::test]
async fn sockets_of_a_server_that_leaves_are_disconnected() {
    let hosts = fleet(3, ServerConfig::default()).await;
    let mut clients = clients(&hosts).await;
    let mut request = ask(&hosts[0]);
    for (client, _) in &mut clients {
        question(client).await;
    }
    clients[1].0.send("430[9]").await;
    let (id, answer) = within(request.next()).await.unwrap();
    assert_eq!((id, answer.unwrap()), (clients[1].1.clone(), 9));
    hosts[2].io.close().await;
    let (id, answer) = within(request.next()).await.unwrap();
    assert_eq!(id, clients[2].1);
    assert!(matches!(answer, Err(AckError::Disconnected)));
    assert!(request.missing_servers().is_empty());
}

#[tokio::test]
async fn a_server_without_the_namespace_has_nobody_to_ask() {
    let mut hosts = fleet(2, ServerConfig::default()).await;
    hosts[0].io = hosts[0].io.clone().namespace(Namespace::new("/alone"));
    let request = hosts[0].io.of("/alone").emit_with_ack::<u8, _>("question", &()).unwrap();
    let all = within(request.timeout(Duration::from_secs(20))).await;
    assert!(all.answers.is_empty() && all.missing.is_empty() && all.missing_servers.is_empty());
}
