//! Tests that a dynamic namespace is created for its first client, removed with its last, and otherwise
//! behaves like a static one.

use std::sync::Arc;

use socketio::{Ack, ConnectError, EmitError, Handshake, MemoryBus, Namespace, Server, ServerConfig, Socket};
use tokio::sync::Semaphore;

use crate::support::{Client, eventually, log, serve};

const UNKNOWN: &str = r#"{"message":"Invalid namespace"}"#;

async fn game(handshake: Handshake) -> Result<u64, ConnectError> {
    handshake.param("id")
}

fn games() -> Namespace<u64> {
    Namespace::with_auth("/game-{id}", game)
        .on("id", async |socket, ()| Ack((*socket.data(), socket.path().to_owned())))
        .on("join", async |socket, room: String| socket.join(room))
        .on("say", async |socket, text: String| socket.to("room").emit("said", &text))
}

#[tokio::test]
async fn each_path_is_a_namespace_of_its_own() {
    let host = serve(Server::new().dynamic(games())).await;
    let mut clients = Vec::new();
    for path in ["/game-7", "/game-7", "/game-8"] {
        let mut client = Client::open(&host).await;
        client.enter(path).await;
        assert_eq!(client.ask(format!(r#"42{path},1["join","room"]"#)).await, format!("43{path},1[]"));
        clients.push(client);
    }
    assert_eq!(clients[2].ask(r#"42/game-8,1["id"]"#).await, r#"43/game-8,1[8,"/game-8"]"#);
    assert_eq!((host.io.socket_count("/game-7"), host.io.socket_count("/game-8")), (2, 1));
    clients[0].send(r#"42/game-7,["say","hello"]"#).await;
    assert_eq!(clients[1].text().await, r#"42/game-7,["said","hello"]"#);
    host.io.of("/game-8").to("room").emit("news", &8).unwrap();
    assert_eq!(clients[2].text().await, r#"42/game-8,["news",8]"#);

    assert_eq!(host.io.children("/game-{id}").count(), 2);
    host.io.children("/game-{id}").for_each(|game| game.emit("end", &()).unwrap());
    for (client, game) in clients.iter_mut().zip([7, 7, 8]) {
        assert_eq!(client.text().await, format!(r#"42/game-{game},["end"]"#));
    }
    assert_eq!(host.io.children("/other").count(), 0);
}

#[tokio::test]
async fn paths_that_do_not_fit_are_refused() {
    let host = serve(Server::new().dynamic(games())).await;
    let mut client = Client::open(&host).await;
    for path in ["/game-", "/game-7/x", "/game", "/game-{id}", "/game-x"] {
        assert_eq!(client.ask(format!("40{path},")).await, format!("44{path},{UNKNOWN}"));
    }
    assert_eq!(host.io.children("/game-{id}").count(), 0);
}

#[tokio::test]
async fn namespaces_of_one_path_go_first_and_then_the_order_decides() {
    let named = |path: &str, name: &'static str| {
        Namespace::new(path).on_connect(async move |socket: Socket| socket.emit("name", name).unwrap())
    };
    let io = Server::new()
        .dynamic_if(named("/{a}", "guarded"), async |path, handshake: Handshake| {
            assert!(path != "/panic", "nobody else is harmed");
            handshake.auth_json() == Some(r#"{"token":1}"#)
        })
        .dynamic(named("/b{b}", "second"))
        .dynamic(named("/{c}", "third"))
        .namespace(named("/bob", "static"));
    let host = serve(io).await;
    for (path, auth, name) in [
        ("/bob", r#"{"token":1}"#, "static"),
        ("/bab", r#"{"token":1}"#, "guarded"),
        ("/bab", "", "second"),
        ("/alice", r#"{"token":2}"#, "third"),
        ("/panic", r#"{"token":1}"#, "third"),
    ] {
        let mut client = Client::open(&host).await;
        assert!(client.ask(format!("40{path},{auth}")).await.starts_with(&format!(r#"40{path},{{"sid""#)));
        assert_eq!(client.text().await, format!(r#"42{path},["name","{name}"]"#));
        client.close().await;
        host.deserted(path).await;
        eventually(|| ["/{a}", "/b{b}", "/{c}"].iter().all(|p| host.io.children(p).count() == 0)).await;
    }

    // While a child namespace has clients, its own pattern admits every new client, even if another pattern
    // matches the path.
    let mut client = Client::open(&host).await;
    client.ask(r#"40/dave,{"token":1}"#).await;
    let mut other = Client::open(&host).await;
    assert_eq!(other.ask("40/dave,").await, format!("44/dave,{UNKNOWN}"));
}

#[tokio::test]
async fn the_last_client_ends_the_namespace() {
    for cleanup in [true, false] {
        let config = ServerConfig::default().cleanup_empty_child_namespaces(cleanup);
        let host = serve(Server::with_config(config).dynamic(games())).await;
        let count = || host.io.children("/game-{id}").count();
        let mut client = Client::open(&host).await;
        let mut other = Client::open(&host).await;
        client.enter("/game-7").await;
        other.enter("/game-7").await;
        client.send("41/game-7,").await;
        eventually(|| host.io.socket_count("/game-7") == 1).await;
        assert_eq!(count(), 1);
        drop(other);
        eventually(|| host.io.socket_count("/game-7") == 0).await;
        if cleanup {
            eventually(|| count() == 0).await;
            assert!(matches!(host.io.of("/game-7").emit("x", &()), Err(EmitError::UnknownNamespace)));
        } else {
            assert_eq!(count(), 1);
        }
        client.enter("/game-7").await;
        assert_eq!((count(), host.io.socket_count("/game-7")), (1, 1));
    }
}

#[tokio::test]
async fn a_client_that_is_refused_or_gives_up_leaves_no_namespace() {
    let gate = Arc::new(Semaphore::new(0));
    let (notes, mut heard) = log();
    let waiting = gate.clone();
    let namespace = Namespace::with_auth("/{n}", async move |_| {
        notes.note(());
        waiting.acquire().await.unwrap().forget();
        Err::<(), _>(ConnectError::new("no"))
    });
    let host = serve(Server::new().dynamic(namespace)).await;
    let mut client = Client::open(&host).await;
    client.send("40/a,").await;
    heard.next().await;
    assert_eq!(host.io.children("/{n}").count(), 1);
    gate.add_permits(1);
    assert_eq!(client.text().await, r#"44/a,{"message":"no"}"#);
    eventually(|| host.io.children("/{n}").count() == 0).await;
    client.send("40/b,").await;
    heard.next().await;
    client.close().await;
    eventually(|| host.io.children("/{n}").count() == 0).await;
}

#[tokio::test]
async fn the_limit_of_dynamic_namespaces_is_exact() {
    let config = ServerConfig::default().max_dynamic_namespaces(3_usize);
    let host = serve(Server::with_config(config).dynamic(games())).await;
    let mut client = Client::open(&host).await;
    for n in 1..=3 {
        client.enter(&format!("/game-{n}")).await;
    }
    let full = r#"{"message":"too many dynamic namespaces"}"#;
    assert_eq!(client.ask("40/game-4,").await, format!("44/game-4,{full}"));
    // The limit does not apply to joining an existing child namespace, and a removed one frees its place.
    let mut other = Client::open(&host).await;
    other.enter("/game-1").await;
    client.send("41/game-2,").await;
    eventually(|| host.io.children("/game-{id}").count() == 2).await;
    other.enter("/game-4").await;
    assert_eq!(other.ask("40/game-5,").await, format!("44/game-5,{full}"));
}

#[tokio::test]
async fn clients_that_come_to_a_new_path_at_once_are_in_one_namespace() {
    let gate = Arc::new(Semaphore::new(0));
    let (notes, mut asked) = log();
    let waiting = gate.clone();
    let namespace = Namespace::with_auth("/{n}", async move |_| {
        notes.note(());
        waiting.acquire().await.unwrap().forget();
        Ok::<_, ConnectError>(())
    });
    let namespace = namespace.on("here", async |socket, ()| Ack(socket.path().to_owned()));
    let io = Server::with_cluster(ServerConfig::default(), MemoryBus::new()).dynamic(namespace);
    let host = serve(io).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::open(&host).await;
        client.send("40/new,").await;
        clients.push(client);
    }
    asked.take(clients.len()).await;
    gate.add_permits(clients.len());
    for client in &mut clients {
        assert!(client.text().await.starts_with(r#"40/new,{"sid":""#));
    }
    assert_eq!(host.io.socket_count("/new"), clients.len());
    host.io.of("/new").emit("news", &()).unwrap();
    for client in &mut clients {
        assert_eq!(client.text().await, r#"42/new,["news"]"#);
        assert_eq!(client.ask(r#"42/new,1["here"]"#).await, r#"43/new,1["/new"]"#);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_comes_while_the_last_goes_is_in_a_living_namespace() {
    let host = Arc::new(serve(Server::new().dynamic(games())).await);
    let clients = (0..8).map(|_| {
        let host = host.clone();
        tokio::spawn(async move {
            let mut client = Client::open(&host).await;
            for _ in 0..100 {
                let sid = client.enter("/game-7").await;
                host.io.of("/game-7").to(sid).emit("x", &()).unwrap();
                assert_eq!(client.text().await, r#"42/game-7,["x"]"#);
                client.send("41/game-7,").await;
            }
            client.close().await;
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    host.deserted("/game-7").await;
    eventually(|| host.io.children("/game-{id}").count() == 0).await;
}
