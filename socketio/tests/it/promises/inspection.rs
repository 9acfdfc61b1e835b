//! Tests of what tools for operators see of a server.

use bytes::Bytes;
use engineio::CloseReason;
use socketio::{Ack, Args, MemoryBus, Namespace, Server, ServerConfig};

use crate::support::{Client, eventually, log, serve};

/// Returns a server with namespaces of different data types.
fn server() -> Server {
    let chat = Namespace::new("/").on("echo", async |socket, args: Args| {
        socket.emit("echo", &args)?;
        Ok::<_, socketio::EmitError>(Ack(()))
    });
    Server::new().namespace(chat).namespace(Namespace::with_data("/users", 7_u8).share_data())
}

#[tokio::test]
async fn an_observer_sees_the_events_of_all_namespaces_until_it_is_dropped() {
    let host = serve(server()).await;
    let mut client = Client::join(&host).await;
    client.enter("/users").await;
    assert_eq!(client.ask(r#"421["echo","unseen"]"#).await, r#"42["echo","unseen"]"#);
    client.text().await;
    let (notes, mut heard) = log();
    let observer = host.io.observe(move |event| {
        let direction = if event.is_incoming() { '<' } else { '>' };
        let (name, args) = event.read().unwrap();
        let (namespace, sockets) = (event.namespace(), event.socket_ids().len());
        notes.note(format!(
            "{direction}{namespace} {sockets} of {} {name}{}",
            event.recipients(),
            args.json()
        ));
    });
    client.send(r#"42["echo",1]"#).await;
    assert_eq!(heard.take(2).await, ["</ 1 of 1 echo[1]", ">/ 1 of 1 echo[1]"]);
    client.send(r#"42/users,["no handler"]"#).await;
    assert_eq!(heard.next().await, "</users 1 of 1 no handler[]");
    host.io.of("/users").emit("news", &Bytes::from_static(b"x")).unwrap();
    assert_eq!(heard.next().await, r#">/users 1 of 1 news[{"_placeholder":true,"num":0}]"#);
    let request = host.io.of("/").emit_with_ack::<(), _>("question", &()).unwrap();
    assert_eq!(heard.next().await, ">/ 1 of 1 question[]");
    drop(request);
    host.io.to("nobody").emit("news", &()).unwrap();
    drop(observer);
    host.io.emit("news", &()).unwrap();
    assert!(heard.is_silent());
}

#[tokio::test]
async fn a_broadcast_is_seen_once_with_its_first_recipients() {
    let host = serve(server()).await;
    let mut clients = Vec::new();
    for _ in 0..17 {
        clients.push(Client::join(&host).await);
    }
    let (notes, mut heard) = log();
    let _observer = host.io.observe(move |event| {
        notes.note((event.socket_ids().map(str::to_owned).collect::<Vec<_>>(), event.recipients()));
    });
    host.io.emit("news", &()).unwrap();
    let (ids, recipients) = heard.next().await;
    assert_eq!((ids.len(), recipients), (16, 17));
    let known: Vec<_> = host.io.local_sockets("/", 100).iter().map(|socket| socket.id().to_owned()).collect();
    assert!(ids.iter().all(|id| known.contains(id)));
    assert!(heard.is_silent());
}

#[tokio::test]
async fn an_observer_that_panics_harms_nobody() {
    let host = serve(server()).await;
    let (notes, mut heard) = log();
    let _panics = host.io.observe(|_| panic!("nobody else is harmed"));
    let _observer = host.io.observe(move |event| notes.note(event.is_incoming()));
    let mut client = Client::join(&host).await;
    assert_eq!(client.ask(r#"42["echo",1]"#).await, r#"42["echo",1]"#);
    assert_eq!(heard.take(2).await, [true, false]);
}

#[tokio::test]
async fn sockets_are_listed_whatever_their_data() {
    let host = serve(server()).await;
    let mut client = Client::join(&host).await;
    client.enter("/users").await;
    assert_eq!(host.io.namespaces(), ["/", "/users"]);
    assert_eq!(host.io.local_sockets("/nowhere", 10).len(), 0);
    assert_eq!(host.io.local_sockets("/users", 0).len(), 0);
    let [plain, user] = ["/", "/users"].map(|path| host.io.local_sockets(path, 10).remove(0));
    assert_eq!((plain.path(), user.path()), ("/", "/users"));
    assert_eq!((plain.data_json(), user.data_json().as_deref()), (None, Some("7")));
    assert_eq!(plain.session().id(), user.session().id());
    host.io.of("/users").sockets_join(["a", "b"]).unwrap();
    assert_eq!(user.rooms(1).iter().map(|room| &**room).collect::<Vec<_>>(), [user.id()]);
    assert_eq!((user.rooms(2).len(), user.rooms(9).len(), user.disconnect_reason()), (2, 3, None));
    client.send("41/users,").await;
    eventually(|| host.io.socket_count("/users") == 0).await;
    assert_eq!(user.disconnect_reason().unwrap().as_str(), "client namespace disconnect");
    assert_eq!((user.rooms(9).len(), host.io.local_sockets("/users", 9).len()), (0, 0));
}

#[tokio::test]
async fn traffic_is_counted() {
    let host = serve(server()).await;
    let mut client = Client::join(&host).await;
    assert_eq!((host.io.traffic().opened, host.io.traffic().messages_received), (1, 0));
    let counter = host.io.count_messages();
    assert_eq!(client.ask(r#"42["echo","é"]"#).await, r#"42["echo","é"]"#);
    let traffic = host.io.traffic();
    assert_eq!((traffic.messages_received, traffic.bytes_received), (1, 14));
    assert_eq!((traffic.messages_sent, traffic.bytes_sent), (1, 14));
    drop(counter);
    client.ask(r#"42["echo","é"]"#).await;
    assert_eq!(host.io.traffic().messages_received, 1);
    drop(client);
    host.deserted("/").await;
    host.io.close().await;
    let closed: Vec<_> = host.io.traffic().closed().filter(|(_, count)| *count > 0).collect();
    assert_eq!(closed, [(CloseReason::TransportClose, 1)]);
}

#[tokio::test]
async fn another_server_gets_the_data_for_the_admin_ui() {
    let bus = MemoryBus::new();
    let start = || Server::with_cluster(ServerConfig::default(), bus.clone());
    let users = || Namespace::with_data("/users", 7_u8).share_data();
    let (one, two) = (start().namespace(users()), serve(start().namespace(users())).await);
    let mut client = Client::open(&two).await;
    let id = client.enter("/users").await;
    let fetch = async || one.of("/users").fetch_sockets().await.unwrap();
    assert_eq!(fetch().await[0].admin_data::<Option<String>>().unwrap(), None);
    two.io.share_admin_data(|socket| format!("{} {}", socket.path(), socket.id()));
    let socket = fetch().await.pop().unwrap();
    assert_eq!(socket.admin_data::<String>().unwrap(), format!("/users {id}"));
    assert_eq!(socket.data::<u8>().unwrap(), 7);
    two.io.share_admin_data(|_| -> () { panic!("as it should") });
    assert_eq!(fetch().await[0].admin_data::<Option<String>>().unwrap(), None);
}
