//! Tests that room events are delivered in order and without holding a lock, and that dropped events are
//! counted.

use std::sync::{Arc, OnceLock};

use socketio::{Namespace, RoomEvent, Server, ServerConfig, Socket};

use crate::support::{Client, Heard, Host, Log, log, serve};

fn told(event: &RoomEvent) -> String {
    match event {
        RoomEvent::Created { room, .. } => format!("create {room}"),
        RoomEvent::Joined { room, id, .. } => format!("join {room} {id}"),
        RoomEvent::Left { room, id, .. } => format!("leave {room} {id}"),
        RoomEvent::Deleted { room, .. } => format!("delete {room}"),
        RoomEvent::Missed { count, .. } => format!("missed {count}"),
        other => panic!("{other:?}"),
    }
}

async fn host() -> (Host, Heard<String>) {
    let (events, heard) = log();
    let namespace = Namespace::new("/")
        .on("join", async |socket: Socket, room: String| socket.join(room))
        .on("leave", async |socket: Socket, room: String| socket.leave(&room))
        .on_room(move |event| events.note(told(&event)));
    (serve(Server::new().namespace(namespace)).await, heard)
}

#[tokio::test]
async fn each_change_is_told_once() {
    let (host, mut heard) = host().await;
    let mut one = Client::open(&host).await;
    let a = one.enter("/").await;
    assert_eq!(heard.take(2).await, [format!("create {a}"), format!("join {a} {a}")]);
    let mut two = Client::open(&host).await;
    let b = two.enter("/").await;
    heard.take(2).await;

    for _ in 0..2 {
        assert_eq!(one.ask(r#"421["join","x"]"#).await, "431[]");
    }
    assert_eq!(two.ask(r#"421["join","x"]"#).await, "431[]");
    assert_eq!(heard.so_far(), ["create x".to_owned(), format!("join x {a}"), format!("join x {b}")]);
    for _ in 0..2 {
        assert_eq!(two.ask(r#"421["leave","x"]"#).await, "431[]");
    }
    assert_eq!(heard.so_far(), [format!("leave x {b}")]);

    // The room named after a socket exists as long as any socket is in it.
    assert_eq!(two.ask(format!(r#"421["join","{a}"]"#)).await, "431[]");
    assert_eq!(one.ask(format!(r#"421["leave","{a}"]"#)).await, "431[]");
    assert_eq!(heard.so_far(), [format!("join {a} {b}"), format!("leave {a} {a}")]);
    assert_eq!(two.ask(format!(r#"421["leave","{a}"]"#)).await, "431[]");
    assert_eq!(heard.so_far(), [format!("leave {a} {b}"), format!("delete {a}")]);

    assert_eq!(one.ask(r#"421["join","y"]"#).await, "431[]");
    heard.so_far();
    one.close().await;
    let left = ["leave x", "delete x", "leave y", "delete y"];
    let left =
        left.map(|event| if event.starts_with("leave") { format!("{event} {a}") } else { event.into() });
    assert_eq!(heard.take(4).await, left);
    host.io.of("/").sockets_join(["z"]).unwrap();
    host.io.of("/").sockets_leave(["z"]).unwrap();
    let moved = ["create z".to_owned(), format!("join z {b}"), format!("leave z {b}"), "delete z".to_owned()];
    assert_eq!(heard.so_far(), moved);
}

/// Starts a server whose room hook makes a socket join `rooms` rooms when the room `go` is created.
async fn busy(rooms: usize, config: ServerConfig) -> (Host, Heard<String>) {
    let (events, heard): (Log<String>, _) = log();
    let joining: Arc<OnceLock<Socket>> = Arc::default();
    let socket = joining.clone();
    let namespace = Namespace::new("/")
        .on_connect(async move |connected: Socket| {
            let _ = joining.set(connected);
        })
        .on("go", async |socket: Socket, ()| socket.join("go"))
        .on_room(move |event| {
            let event = told(&event);
            let goes = event.starts_with("join go");
            events.note(event);
            if goes {
                let socket = socket.get().unwrap();
                (0..rooms).for_each(|n| socket.join(n.to_string()).unwrap());
                assert_eq!(socket.rooms().len(), rooms + 2);
                panic!("it goes on after a panic");
            }
        });
    (serve(Server::with_config(config).namespace(namespace)).await, heard)
}

#[tokio::test]
async fn the_limit_of_events_that_wait_is_exact() {
    for (rooms, missed) in [(3, None), (4, Some("missed 2"))] {
        let (host, mut heard) = busy(rooms, ServerConfig::default().max_room_events(6_usize)).await;
        let mut client = Client::join(&host).await;
        assert_eq!(client.ask(r#"421["go"]"#).await, "431[]");
        let events = heard.so_far();
        // Two events for the socket's own room, two for `go`, and two for each room that fits.
        assert_eq!(events.len(), 4 + 6 + usize::from(missed.is_some()), "{events:?}");
        assert_eq!(events.last().filter(|event| event.starts_with("missed")).map(String::as_str), missed);
        // Later events are delivered again.
        host.io.of("/").sockets_join(["later"]).unwrap();
        assert_eq!(heard.so_far().len(), 2);
    }
}
