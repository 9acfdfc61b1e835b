//! Sockets are fetched, moved between rooms and disconnected on all servers.

use socketio::{Namespace, RemoteSocket, ServerConfig};

use super::{clients, fleet, is_silent};
use crate::support::{Host, eventually, within};

async fn fetched(host: &Host, room: &str) -> Vec<RemoteSocket> {
    let mut sockets = within(host.io.to(room).fetch_sockets()).await.unwrap();
    sockets.sort_by_key(|socket| socket.id().to_owned());
    sockets
}

#[tokio::test]
async fn sockets_of_all_servers_are_found() {
    for count in [2, 3] {
        let hosts = fleet(count, ServerConfig::default()).await;
        let clients = clients(&hosts).await;
        let mut ids: Vec<&str> = clients.iter().map(|(_, id)| id.as_str()).collect();
        ids.sort_unstable();
        for host in &hosts {
            assert!(fetched(host, "all").await.iter().map(RemoteSocket::id).eq(ids.iter().copied()));
        }
        let there = fetched(&hosts[0], "1").await;
        assert_eq!(there.len(), 1);
        assert_eq!(there[0].rooms().len(), 3);
        assert_eq!(there[0].handshake().query("EIO").as_deref(), Some("4"));
        there[0].data::<()>().unwrap();
        let here = within(hosts[0].io.of("/").local().fetch_sockets()).await.unwrap();
        assert!(here.iter().map(RemoteSocket::id).eq([clients[0].1.as_str()]));
    }
}

#[tokio::test]
async fn a_socket_of_another_server_can_be_reached() {
    let hosts = fleet(2, ServerConfig::default()).await;
    let mut clients = clients(&hosts).await;
    let socket = fetched(&hosts[0], "1").await.remove(0);
    socket.emit("hello", &1).unwrap();
    assert_eq!(clients[1].0.text().await, r#"42["hello",1]"#);
    let request = socket.emit_with_ack::<u8, _>("question", &()).unwrap();
    assert_eq!(clients[1].0.text().await, r#"420["question"]"#);
    clients[1].0.send("430[7]").await;
    assert_eq!(within(request).await.answers, [(clients[1].1.clone(), 7)]);
    socket.join(["lounge"]).unwrap();
    socket.leave(["all"]).unwrap();
    // Messages from one server are processed in order, so the response reflects both changes.
    assert_eq!(fetched(&hosts[0], "lounge").await.len(), 1);
    assert_eq!(fetched(&hosts[0], "all").await.len(), 1);
    socket.disconnect().unwrap();
    assert_eq!(clients[1].0.text().await, "41");
    is_silent(&mut clients[0]).await;
}

#[tokio::test]
async fn sockets_move_and_leave_everywhere() {
    let hosts = fleet(3, ServerConfig::default()).await;
    let mut clients = clients(&hosts).await;
    hosts[0].io.to("1").to("2").sockets_join(["garden", "house"]).unwrap();
    assert_eq!(fetched(&hosts[0], "garden").await.len(), 2);
    hosts[0].io.to("1").sockets_leave(["garden"]).unwrap();
    assert_eq!(fetched(&hosts[0], "garden").await.len(), 1);
    assert_eq!(fetched(&hosts[0], "house").await.len(), 2);
    hosts[0].io.to("house").except("garden").disconnect_sockets().unwrap();
    assert_eq!(clients[1].0.text().await, "41");
    hosts[0].io.to("garden").close_sockets().unwrap();
    assert_eq!(clients[2].0.text().await, "41");
    clients[2].0.ended().await;
    eventually(|| hosts[2].io.session_count() == 0).await;
    assert_eq!(fetched(&hosts[0], "all").await.len(), 1);
}

#[tokio::test]
async fn a_namespace_that_others_do_not_have_is_fetched_all_the_same() {
    let mut hosts = fleet(2, ServerConfig::default()).await;
    hosts[0].io = hosts[0].io.clone().namespace(Namespace::new("/alone"));
    assert!(within(hosts[0].io.of("/alone").fetch_sockets()).await.unwrap().is_empty());
}
