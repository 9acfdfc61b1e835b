//! Counting sockets does not allocate, however many sockets there are.

use socketio::{Namespace, Server, Socket};
use testkit::WebSocket as Client;

use crate::lab::{Host, Lab};

#[test]
fn sockets_are_counted_without_an_allocation() {
    let namespace = Namespace::new("/").on_connect(async |socket: Socket| socket.join("room"));
    let lab = Lab::new(Server::new().namespace(namespace));
    let host = lab.host.clone();
    let (clients, _) = lab.run(async move {
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(Client::join(&host).await);
        }
        clients
    });
    let Host { io, .. } = &*lab.host;
    let (sockets, room) = (io.sockets::<()>("/").unwrap(), io.to("room"));
    let counted = lab.on_server(|| {
        assert_eq!((sockets.len(), sockets.count_in("room"), room.socket_count()), (20, 20, 20));
        assert_eq!(sockets.count_in("nowhere"), 0);
    });
    assert_eq!(counted.count_total, 0);
    drop(clients);
}
