//! Tests that a broadcast reaches each of its recipients once, and all recipients in the same order.

use std::sync::Arc;

use socketio::{BroadcastOperator, EmitError, EngineConfig, Namespace, Server, ServerConfig, Socket};
use tokio::{sync::Barrier, task::JoinSet};

use crate::support::{Client, Heard, Host, eventually, log, serve, within};

struct Member {
    client: Client,
    socket: Socket,
}

impl Member {
    /// Returns the events received before the next `end` event.
    async fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            match self.client.text().await.as_str() {
                r#"42["end"]"# => return events,
                packet => events.push(packet[4..packet.len() - 2].to_owned()),
            }
        }
    }
}

async fn host(config: ServerConfig) -> (Host, Heard<Socket>) {
    let (sockets, connected) = log();
    let namespace = Namespace::new("/").on_connect(async move |socket| sockets.note(socket));
    (serve(Server::with_config(config).namespace(namespace)).await, connected)
}

/// Connects clients to rooms. The name of each room is one letter.
async fn members<const N: usize>(rooms: [&str; N]) -> (Host, [Member; N]) {
    let (host, mut connected) = host(ServerConfig::default()).await;
    let mut members = Vec::new();
    for rooms in rooms {
        let client = Client::join(&host).await;
        let socket = connected.next().await;
        for room in rooms.chars() {
            socket.join(room.to_string()).unwrap();
        }
        members.push(Member { client, socket });
    }
    let members = members.try_into().unwrap_or_else(|_| panic!("as many members as room lists"));
    (host, members)
}

/// Sends each broadcast with its index as the event, and returns the indices that each member received.
async fn reached<const N: usize>(
    host: &Host,
    members: &mut [Member; N],
    broadcasts: Vec<BroadcastOperator>,
) -> [String; N] {
    for (n, broadcast) in broadcasts.into_iter().enumerate() {
        broadcast.emit(n.to_string(), &()).unwrap();
    }
    host.io.emit("end", &()).unwrap();
    let mut reached = [const { String::new() }; N];
    for (member, reached) in members.iter_mut().zip(&mut reached) {
        *reached = member.events().await.concat();
    }
    reached
}

#[tokio::test]
async fn a_broadcast_reaches_the_members_of_any_of_its_rooms_once() {
    let (host, mut members) = members(["", "a", "b", "ab", "abc"]).await;
    let id = |n: usize| members[n].socket.id().to_owned();
    let broadcasts = vec![
        host.io.of("/"),
        host.io.to("a"),
        host.io.to("a").to("b"),
        host.io.to("a").to("a").to("b").to("c"),
        host.io.to("a").to(id(3)).to(id(0)),
        host.io.to(id(4)).to(id(4)),
        host.io.to("nobody is here"),
        host.io.to("nobody is here").to("c"),
    ];
    let reached = reached(&host, &mut members, broadcasts).await;
    assert_eq!(reached, ["04", "01234", "023", "01234", "0123457"]);
}

#[tokio::test]
async fn exceptions_win() {
    let (host, mut members) = members(["", "a", "b", "ab"]).await;
    let id = |n: usize| members[n].socket.id().to_owned();
    let broadcasts = vec![
        host.io.of("/").except("a"),
        host.io.to("a").except("b"),
        host.io.to("a").to("b").except("a").except("b"),
        host.io.of("/").except(id(0)).except(id(3)),
        host.io.to("a").except("nobody is here"),
        host.io.to(id(1)).except(id(1)),
    ];
    let reached = reached(&host, &mut members, broadcasts).await;
    assert_eq!(reached, ["0", "134", "03", "4"]);
}

#[tokio::test]
async fn a_socket_that_broadcasts_does_not_hear_itself() {
    let (host, mut members) = members(["a", "a", "b"]).await;
    let socket = members[0].socket.clone();
    let broadcasts = vec![
        socket.broadcast(),
        socket.to("a"),
        socket.to("a").to("b"),
        socket.except("a"),
        socket.namespace(),
        socket.namespace().to("a"),
        // As in Node.js, the sender is excluded even from a broadcast to its own room.
        socket.to(socket.id()),
    ];
    let reached = reached(&host, &mut members, broadcasts).await;
    assert_eq!(reached, ["45", "01245", "0234"]);
}

#[tokio::test]
async fn joining_and_leaving_counts_from_the_next_broadcast_on() {
    let (host, [mut member, _]) = members(["", "a"]).await;
    let Member { socket, .. } = &member;
    let own = socket.id().to_owned();
    for (n, step) in ["join", "again", "leave", "again", "own", "back"].into_iter().enumerate() {
        match (n, step) {
            (_, "join") | (1, _) => socket.join("a").unwrap(),
            (_, "leave") | (3, _) => socket.leave("a"),
            (_, "own") => socket.leave(&own),
            _ => socket.join(own.as_str()).unwrap(),
        }
        host.io.to("a").emit(format!("a{n}"), &()).unwrap();
        host.io.to(own.as_str()).emit(format!("own{n}"), &()).unwrap();
    }
    host.io.emit("end", &()).unwrap();
    assert_eq!(member.events().await, ["a0", "own0", "a1", "own1", "own2", "own3", "own5"]);
}

#[tokio::test]
async fn rooms_of_different_namespaces_have_nothing_to_do_with_each_other() {
    let (sockets, mut connected) = log();
    let namespace = |path: &str| {
        let sockets = sockets.clone();
        Namespace::new(path).on_connect(async move |socket: Socket| {
            socket.join("room").unwrap();
            sockets.note(socket);
        })
    };
    let host = serve(Server::new().namespace(namespace("/")).namespace(namespace("/other"))).await;
    let mut client = Client::join(&host).await;
    client.enter("/other").await;
    connected.take(2).await;
    host.io.of("/other").to("room").emit("x", &1).unwrap();
    host.io.to("room").emit("x", &2).unwrap();
    assert_eq!(client.text().await, r#"42/other,["x",1]"#);
    assert_eq!(client.text().await, r#"42["x",2]"#);
    assert!(matches!(host.io.of("/third").emit("x", &3), Err(EmitError::UnknownNamespace)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_members_see_concurrent_broadcasts_in_one_order() {
    const TASKS: usize = 8;
    const BROADCASTS: usize = 300;
    let config = ServerConfig::default().engine(EngineConfig::default().max_buffered(16_usize << 20));
    let (host, mut connected) = host(config).await;
    let mut members = Vec::new();
    for _ in 0..6 {
        let client = Client::join(&host).await;
        let socket = connected.next().await;
        socket.join("a").unwrap();
        socket.join("b").unwrap();
        members.push(Member { client, socket });
    }
    let start = Arc::new(Barrier::new(TASKS));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (io, start) = (host.io.clone(), start.clone());
        tasks.spawn(async move {
            start.wait().await;
            for n in 0..BROADCASTS {
                // All four targets include every member.
                let target = match task % 4 {
                    0 => io.of("/"),
                    1 => io.to("a"),
                    2 => io.to("b").to("a"),
                    _ => io.of("/").except("nobody is here"),
                };
                target.emit(format!("{task} {n}"), &()).unwrap();
            }
        });
    }
    within(tasks.join_all()).await;
    host.io.emit("end", &()).unwrap();
    let first = members.pop().unwrap().events().await;
    assert_eq!(first.len(), TASKS * BROADCASTS);
    for mut member in members {
        assert!(member.events().await == first, "two members saw two orders");
    }
    for task in 0..TASKS {
        let own = first.iter().filter_map(|event| event.strip_prefix(&format!("{task} ")));
        assert!(own.eq((0..BROADCASTS).map(|n| n.to_string())), "of task {task}");
    }
}

#[tokio::test]
async fn volatile_events_reach_who_can_take_them_now() {
    let (host, mut members) = members(["a", "a"]).await;
    // Nothing is queued for either client.
    host.io.to("a").volatile().emit("taken", &()).unwrap();
    host.io.emit("end", &()).unwrap();
    for member in &mut members {
        assert_eq!(member.events().await, ["taken"]);
    }
    let [Member { client: mut quick, .. }, Member { socket: busy, client: mut slow }] = members;
    eventually(|| busy.session().buffered() == 0).await;
    busy.emit("waits", &()).unwrap();
    host.io.to("a").volatile().emit("now or never", &()).unwrap();
    host.io.emit("end", &()).unwrap();
    assert_eq!(quick.text().await, r#"42["now or never"]"#);
    assert_eq!(quick.text().await, r#"42["end"]"#);
    assert_eq!(slow.text().await, r#"42["waits"]"#);
    assert_eq!(slow.text().await, r#"42["end"]"#);
}
