//! A broadcast reaches the recipients on all servers once and in order.

use bytes::Bytes;
use socketio::ServerConfig;

use super::{clients, fleet, is_silent};

#[tokio::test]
async fn all_servers_are_reached_in_order() {
    for count in [2, 3] {
        let hosts = fleet(count, ServerConfig::default()).await;
        for host in &hosts {
            assert_eq!(host.io.server_count().await, Ok(count));
        }
        let mut clients = clients(&hosts).await;
        for n in 0..100 {
            hosts[0].io.emit("n", &n).unwrap();
            hosts[0].io.to("all").emit("n", &n).unwrap();
        }
        for client in &mut clients {
            for n in 0..100 {
                assert_eq!(client.0.text().await, format!(r#"42["n",{n}]"#));
                assert_eq!(client.0.text().await, format!(r#"42["n",{n}]"#));
            }
            is_silent(client).await;
        }
    }
}

#[tokio::test]
async fn rooms_and_exceptions_hold_everywhere() {
    let hosts = fleet(3, ServerConfig::default()).await;
    let mut clients = clients(&hosts).await;
    let ids: Vec<String> = clients.iter().map(|(_, id)| id.clone()).collect();
    hosts[0].io.to("1").to("all").except("2").emit("a", &()).unwrap();
    hosts[0].io.to(&ids[2]).emit("b", &()).unwrap();
    hosts[0].io.of("/").local().emit("c", &()).unwrap();
    for (client, expected) in clients.iter_mut().zip([&["a", "c"][..], &["a"], &["b"]]) {
        for event in expected {
            assert_eq!(client.0.text().await, format!(r#"42["{event}"]"#));
        }
        is_silent(client).await;
    }
    // The sender is excluded, whichever server it is connected to.
    clients[1].0.send(r#"42["others",7]"#).await;
    assert_eq!(clients[0].0.text().await, r#"42["n",7]"#);
    assert_eq!(clients[2].0.text().await, r#"42["n",7]"#);
    is_silent(&mut clients[1]).await;
}

#[tokio::test]
async fn attachments_and_volatile_events_travel_too() {
    let hosts = fleet(2, ServerConfig::default()).await;
    let mut clients = clients(&hosts).await;
    hosts[0].io.emit("file", &Bytes::from_static(b"leaves")).unwrap();
    for (client, _) in &mut clients {
        assert_eq!(client.text().await, r#"451-["file",{"_placeholder":true,"num":0}]"#);
        assert_eq!(client.binary().await, b"leaves");
    }
    hosts[1].io.of("/").volatile().emit("now", &1).unwrap();
    for (client, _) in &mut clients {
        assert_eq!(client.text().await, r#"42["now",1]"#);
    }
}

#[tokio::test]
async fn a_server_that_was_closed_is_in_no_cluster() {
    let hosts = fleet(2, ServerConfig::default()).await;
    let mut clients = clients(&hosts).await;
    hosts[1].io.close().await;
    assert_eq!((hosts[0].io.server_count().await, hosts[1].io.server_count().await), (Ok(1), Ok(1)));
    hosts[1].io.emit("late", &()).unwrap();
    hosts[0].io.emit("n", &1).unwrap();
    assert_eq!(clients[0].0.text().await, r#"42["n",1]"#);
    is_silent(&mut clients[0]).await;
}
