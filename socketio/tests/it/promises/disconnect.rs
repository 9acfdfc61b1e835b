//! Tests that the disconnect hooks run exactly once per socket and with the right reason: one before the
//! socket leaves its rooms, one after its handlers have finished.

use std::{sync::Arc, time::Duration};

use socketio::{
    CloseReason, DisconnectReason, EmitError, EngineConfig, Namespace, Room, Server, ServerConfig, Socket,
};
use tokio::sync::Semaphore;

use crate::support::{Client, Heard, Host, Polling, binary, eventually, log, payload, serve, text};

/// The state of the socket as seen by a hook.
struct Left {
    reason: DisconnectReason,
    rooms: Vec<Room>,
    connected: bool,
}

fn config() -> ServerConfig {
    ServerConfig::default().engine(EngineConfig::default().close_timeout(Duration::from_millis(50)))
}

async fn host(config: ServerConfig) -> (Host, Heard<Socket>, Heard<Left>, Heard<Left>) {
    let (sockets, connected) = log();
    let (before, leaving) = log();
    let (notes, left) = log();
    let namespace = Namespace::new("/")
        .on_connect(async move |socket: Socket| {
            socket.join("room").unwrap();
            sockets.note(socket);
        })
        .on_disconnecting(move |socket, reason| {
            before.note(Left { reason, rooms: socket.rooms(), connected: socket.connected() });
        })
        .on_disconnect(async move |socket, reason| {
            notes.note(Left { reason, rooms: socket.rooms(), connected: socket.connected() });
        });
    (serve(Server::with_config(config).namespace(namespace)).await, connected, leaving, left)
}

/// Checks that both hooks run once, with the given reason, for a socket that is ended by `end`.
async fn ends_with(
    reason: &str,
    config: ServerConfig,
    end: impl AsyncFnOnce(Client, &Socket, &Host),
) -> DisconnectReason {
    let (host, mut connected, mut leaving, mut left) = host(config).await;
    let client = Client::join(&host).await;
    let socket = connected.next().await;
    end(client, &socket, &host).await;
    let Left { reason: seen, rooms, connected } = left.next().await;
    assert_eq!(seen.as_str(), reason);
    assert!(!connected, "{reason}");
    assert_eq!(rooms.iter().map(|room| &**room).collect::<Vec<_>>(), [socket.id(), "room"], "{reason}");
    let before = leaving.next().await;
    assert_eq!((before.reason, before.rooms), (seen, rooms));
    assert!(before.connected, "{reason}");
    host.io.close().await;
    host.deserted("/").await;
    assert!(left.is_silent() && leaving.is_silent(), "{reason}: a hook ran twice");
    seen
}

#[tokio::test]
async fn the_client_ends() {
    ends_with("client namespace disconnect", config(), async |mut client, _, _| {
        client.send("41").await;
        // Closing the connection afterwards does not run the hooks a second time.
        client.close().await;
    })
    .await;
    ends_with("transport close", config(), async |client, _, _| client.close().await).await;
    ends_with("transport close", config(), async |client, _, _| drop(client)).await;
    ends_with("transport close", config(), async |mut client, _, _| client.send("1").await).await;
}

#[tokio::test]
async fn the_client_breaks_the_protocol() {
    let ways: [(&str, Vec<u8>, CloseReason); 5] = [
        ("parse error", text("x"), CloseReason::ParseError),
        ("transport error", vec![0x81, 0x01, b'x'], CloseReason::TransportError),
        ("transport error", text("2"), CloseReason::TransportError),
        ("forced close", text("44{}"), CloseReason::Violation),
        ("forced close", binary("x"), CloseReason::Violation),
    ];
    for (reason, bytes, expected) in ways {
        let seen = ends_with(reason, config(), async |mut client, _, _| client.write(bytes).await).await;
        assert_eq!(seen, DisconnectReason::Closed(expected));
    }
}

#[tokio::test]
async fn the_server_ends() {
    ends_with("server namespace disconnect", config(), async |_, socket, _| socket.disconnect()).await;
    ends_with("server namespace disconnect", config(), async |_, socket, _| socket.close()).await;
    ends_with("forced close", config(), async |_, socket, _| socket.session().close()).await;
    ends_with("server shutting down", config(), async |_, _, host| {
        host.io.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_client_falls_silent() {
    let heartbeat = EngineConfig::default()
        .ping_interval(Duration::from_millis(20))
        .ping_timeout(Duration::from_millis(20))
        .close_timeout(Duration::from_millis(20));
    let config = ServerConfig::default().engine(heartbeat);
    ends_with("ping timeout", config, async |mut client, _, _| {
        assert_eq!(client.text().await, "2");
        assert_eq!(client.ended().await, (1008, "ping timeout".into()));
    })
    .await;
}

#[tokio::test]
async fn the_client_does_not_read() {
    let limit = 64 << 10;
    let engine = EngineConfig::default()
        .max_buffered(limit)
        .max_buffered_hard(limit)
        .close_timeout(Duration::from_millis(20));
    let config = ServerConfig::default().engine(engine);
    let seen = ends_with("transport error", config, async |client, socket, host| {
        let payload = "x".repeat(10_000);
        let error = loop {
            // A full queue of one member does not make the broadcast fail.
            host.io.to("room").emit("news", payload.as_str()).unwrap();
            if let Err(error) = socket.emit("news", payload.as_str()) {
                break error;
            }
            assert!(socket.session().buffered() <= limit);
            tokio::task::yield_now().await;
        };
        assert!(matches!(error, EmitError::Full | EmitError::Disconnected), "{error:?}");
        std::mem::forget(client);
    })
    .await;
    assert_eq!(seen, DisconnectReason::Closed(CloseReason::SlowConsumer));
}

#[tokio::test]
async fn the_client_neither_reads_nor_answers() {
    // Less than the queue limit but more than the kernel accepts, so writes are blocked when the heartbeat
    // times out.
    let heartbeat = EngineConfig::default()
        .max_buffered(64_usize << 20)
        .ping_interval(Duration::from_millis(50))
        .ping_timeout(Duration::from_millis(50))
        .close_timeout(Duration::from_millis(20));
    let config = ServerConfig::default().engine(heartbeat);
    ends_with("ping timeout", config, async |client, socket, _| {
        let payload = "x".repeat(1_000_000);
        (0..32).for_each(|_| socket.emit("news", payload.as_str()).unwrap());
        std::mem::forget(client);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_can_still_be_disconnected() {
    let engine = EngineConfig::default().max_buffered(100_000_usize).close_timeout(Duration::from_millis(20));
    let config = ServerConfig::default().engine(engine);
    ends_with("server namespace disconnect", config, async |client, socket, _| {
        // A single message fills the queue and remains there once the kernel accepts no more.
        let payload = "x".repeat(1_000_000);
        loop {
            eventually_or(100, || socket.session().buffered() == 0).await;
            if socket.session().buffered() > 0 {
                break;
            }
            socket.emit("news", payload.as_str()).unwrap();
        }
        socket.disconnect();
        std::mem::forget(client);
    })
    .await;
}

/// Yields until the condition holds, at most `times` times.
async fn eventually_or(times: usize, condition: impl Fn() -> bool) {
    for _ in 0..times {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_client_polls() {
    let (host, mut connected, _leaving, mut left) = host(config()).await;
    let mut client = Polling::join(&host).await;
    client.send("41").await;
    assert_eq!(left.next().await.reason, DisconnectReason::ClientNamespaceDisconnect);
    client.send("1").await;

    let mut client = Polling::join(&host).await;
    client.send("1").await;
    assert_eq!(left.next().await.reason.as_str(), "transport close");

    let mut client = Polling::join(&host).await;
    client.start_poll().await;
    client.send("40").await;
    assert_eq!(client.polled().await, "1", "a second CONNECT breaks the protocol");
    assert_eq!(left.next().await.reason, DisconnectReason::Closed(CloseReason::Violation));

    let mut client = Polling::join(&host).await;
    let socket = connected.take(4).await.pop().unwrap();
    client.start_poll().await;
    // Once the poll is parked, closing its connection ends the session.
    eventually(|| socket.session().is_writable()).await;
    drop(client);
    assert_eq!(left.next().await.reason.as_str(), "transport error");

    let mut client = Polling::join(&host).await;
    assert_eq!(client.post(payload(&["40/x,", "x"])).await.status, 400);
    assert_eq!(left.next().await.reason.as_str(), "parse error");
    host.deserted("/").await;
    assert!(left.is_silent());
}

#[tokio::test]
async fn a_socket_says_farewell_while_it_is_in_its_rooms() {
    let (notes, mut heard) = log();
    let namespace = Namespace::new("/")
        .on("join", async |socket, room: String| socket.join(room))
        .on_disconnecting(move |socket: &Socket, _| {
            assert!(socket.join("late").is_ok());
            socket.to("room").emit("farewell", &socket.id()).unwrap();
            // No effect: the socket is already disconnecting.
            socket.disconnect();
            notes.note(socket.clone());
            panic!("the socket leaves all the same");
        });
    let host = serve(Server::new().namespace(namespace)).await;
    let mut client = Client::open(&host).await;
    let sid = client.enter("/").await;
    let mut other = Client::join(&host).await;
    for client in [&mut client, &mut other] {
        assert_eq!(client.ask(r#"421["join","room"]"#).await, "431[]");
    }
    client.send("41").await;
    assert_eq!(other.text().await, format!(r#"42["farewell","{sid}"]"#));
    let socket = heard.next().await;
    eventually(|| !socket.connected()).await;
    assert!(socket.rooms().iter().any(|room| &**room == "late"));
    assert_eq!(host.io.socket_count("/"), 1);
    host.io.to("late").emit("nobody", &()).unwrap();
    assert_eq!(client.enter("/").await.len(), sid.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_all_end_a_socket_at_once_each_hook_runs_once() {
    for _ in 0..50 {
        let (host, mut connected, mut leaving, mut left) = host(config()).await;
        let client = Client::join(&host).await;
        let socket = connected.next().await;
        let ends = (0..4).map(|_| {
            let socket = socket.clone();
            tokio::spawn(async move { socket.disconnect() })
        });
        let ends: Vec<_> = ends.collect();
        client.close().await;
        futures::future::join_all(ends).await;
        host.deserted("/").await;
        assert_eq!(leaving.next().await.reason, left.next().await.reason);
        assert!(leaving.is_silent() && left.is_silent());
    }
}

/// Starts a server whose handlers record their start, wait for a permit, and record their end. The hook
/// records the reason.
async fn gated(config: ServerConfig, max_in_flight: usize) -> (Host, Arc<Semaphore>, Heard<&'static str>) {
    let gate = Arc::new(Semaphore::new(0));
    let (notes, heard) = log();
    let handler = {
        let (gate, notes) = (gate.clone(), notes.clone());
        async move |_, (): ()| {
            notes.note("start");
            gate.acquire().await.unwrap().forget();
            notes.note("end");
        }
    };
    let namespace = Namespace::new("/")
        .on("work", handler)
        .max_in_flight(max_in_flight)
        .on_disconnect(async move |_, reason: DisconnectReason| notes.note(reason.as_str()));
    let beside = Namespace::new("/beside");
    let host = serve(Server::with_config(config).namespace(namespace).namespace(beside)).await;
    (host, gate, heard)
}

const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn the_hook_waits_for_the_handlers() {
    for packet in ["41", "1"] {
        let (host, gate, mut heard) = gated(config().disconnect_grace(NEVER), 64).await;
        let mut client = Client::join(&host).await;
        client.enter("/beside").await;
        client.send(r#"42["work"]"#).await;
        client.send(r#"42["work"]"#).await;
        client.send(packet).await;
        assert_eq!(heard.take(2).await, ["start", "start"]);
        eventually(|| host.io.socket_count("/") == 0).await;
        assert!(heard.is_silent(), "{packet}");
        gate.add_permits(2);
        assert_eq!(heard.take(2).await, ["end", "end"]);
        assert!(heard.next().await.ends_with(if packet == "41" { "disconnect" } else { "close" }));
    }
}

#[tokio::test]
async fn a_handler_that_hangs_delays_the_hook_by_the_grace_and_not_for_ever() {
    for packet in ["41", "1"] {
        let (host, _gate, mut heard) = gated(config().disconnect_grace(SOON), 64).await;
        let mut client = Client::join(&host).await;
        client.enter("/beside").await;
        client.send(r#"42["work"]"#).await;
        client.send(packet).await;
        assert_eq!(heard.next().await, "start");
        assert!(heard.next().await.ends_with(if packet == "41" { "disconnect" } else { "close" }));
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_namespace_whose_handlers_hang_is_gone_after_the_grace() {
    let (host, _gate, mut heard) = gated(config().disconnect_grace(SOON), 1).await;
    let mut client = Client::join(&host).await;
    client.enter("/beside").await;
    client.send(r#"42["work"]"#).await;
    client.send("41").await;
    assert_eq!(heard.next().await, "start");
    assert_eq!(heard.next().await, "client namespace disconnect");
    assert_eq!(host.io.socket_count("/"), 0);
}

#[tokio::test]
async fn a_connect_hook_that_hangs_delays_the_disconnect_hook_by_the_grace_and_not_for_ever() {
    let (notes, mut heard) = log();
    let namespace = Namespace::new("/")
        .on_connect(async |_| std::future::pending::<()>().await)
        .on_disconnect(async move |_, reason: DisconnectReason| notes.note(reason.as_str()));
    let host = serve(Server::with_config(config().disconnect_grace(SOON)).namespace(namespace)).await;
    let client = Client::join(&host).await;
    client.close().await;
    assert_eq!(heard.next().await, "transport close");
}

#[tokio::test]
async fn events_that_came_before_the_end_of_the_connection_are_handled_first() {
    let (host, gate, mut heard) = gated(config().disconnect_grace(NEVER), 1).await;
    let mut client = Client::join(&host).await;
    for _ in 0..3 {
        client.send(r#"42["work"]"#).await;
    }
    client.close().await;
    assert_eq!(heard.next().await, "start");
    host.deserted("/").await;
    gate.add_permits(3);
    assert_eq!(heard.take(6).await, ["end", "start", "end", "start", "end", "transport close"]);
}

#[tokio::test]
async fn events_that_break_the_protocol_when_their_turn_comes_end_the_session_once() {
    let (host, gate, mut heard) = gated(config().disconnect_grace(NEVER), 1).await;
    let mut client = Client::join(&host).await;
    let (work, broken) = (text(r#"42["work"]"#), text(r#"42["work",]"#));
    client.write([&*work, &broken, &work, &broken].concat()).await;
    assert_eq!(heard.next().await, "start");
    gate.add_permits(2);
    assert_eq!(client.ended().await, (1002, "forced close".into()));
    // Packets after the invalid one are not handled.
    assert_eq!(heard.take(2).await, ["end", "forced close"]);
    host.deserted("/").await;
}

#[tokio::test]
async fn events_that_the_server_has_not_begun_when_it_disconnects_are_dropped() {
    let (notes, mut heard) = log();
    let handler = {
        let notes = notes.clone();
        async move |socket: Socket, n: u8| {
            notes.note(n.to_string());
            socket.disconnect();
        }
    };
    let namespace = Namespace::new("/")
        .on("n", handler)
        .on_disconnect(async move |_, reason: DisconnectReason| notes.note(reason.to_string()));
    let host = serve(Server::new().namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    let frames: Vec<u8> = (0..10).flat_map(|n| text(format!(r#"42["n",{n}]"#))).collect();
    client.write(frames).await;
    assert_eq!(client.text().await, "41");
    assert_eq!(heard.take(2).await, ["0", "server namespace disconnect"]);
    // The session continues, and the same client can connect again.
    client.enter("/").await;
    assert!(heard.is_silent());
}
