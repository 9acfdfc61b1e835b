//! Each metric changes as `docs/observability.md` specifies.

#![allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "counts are small whole numbers")]

mod cluster;
mod opentelemetry;
mod spans;

use std::time::Duration;

use socketio::{
    Ack, AckError, Event, EventError, MemoryBus, Namespace, Next, Server, ServerConfig, Socket,
    testing::TestServer,
};
use testkit::Recorder;
use tokio::time::sleep;

async fn work(_: Socket, how: String) -> Result<Ack<String>, EventError> {
    sleep(Duration::from_secs(2)).await;
    match how.as_str() {
        "refuse" => Err(EventError::public("no")),
        "fail" => Err(EventError::internal("the disk is full")),
        "panic" => panic!("asked to panic"),
        _ => Ok(Ack(how)),
    }
}

fn start(make: impl FnOnce() -> Namespace) -> (Recorder, TestServer) {
    Recorder::new(|| TestServer::new(Server::new().namespace(make())))
}

#[tokio::test(start_paused = true)]
async fn handlers_are_counted_and_timed() {
    let (mut watched, server) = start(|| Namespace::new("/app").on("work", work));
    let client = server.connect("/app").await;
    watched.assert_changes("socketio_", &[("socketio_sockets{namespace=/app}", 1.0)]);
    for how in ["do it", "refuse", "fail", "panic", "panic"] {
        let _: serde_json::Value = client.emit_with_ack("work", how).await.unwrap();
    }
    watched.assert_changes(
        "socketio_",
        &[
            ("socketio_events_received_total{namespace=/app,event=work}", 5.0),
            ("socketio_handler_failures_total{namespace=/app,event=work,kind=failed}", 1.0),
            ("socketio_handler_failures_total{namespace=/app,event=work,kind=panicked}", 2.0),
            ("socketio_handler_failures_total{namespace=/app,event=work,kind=refused}", 1.0),
            ("socketio_handler_seconds{namespace=/app,event=work}", 5.0),
        ],
    );
    let seconds = watched.total("sum of socketio_handler_seconds{namespace=/app,event=work}");
    assert!((10.0..10.1).contains(&seconds), "{seconds}");

    // The handler does not run if the arguments have another type.
    let _: serde_json::Value = client.emit_with_ack("work", &7).await.unwrap();
    watched.assert_changes(
        "socketio_",
        &[
            ("socketio_events_received_total{namespace=/app,event=work}", 1.0),
            ("socketio_handler_failures_total{namespace=/app,event=work,kind=refused}", 1.0),
        ],
    );
    client.disconnect().await;
    watched.assert_changes("socketio_", &[("socketio_sockets{namespace=/app}", -1.0)]);
}

#[derive(serde::Deserialize)]
struct Rude;

impl Rude {
    fn read<'de, D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("asked to panic")
    }
}

#[derive(serde::Deserialize)]
struct Holder(#[serde(deserialize_with = "Rude::read")] Rude);

#[tokio::test(start_paused = true)]
async fn a_panic_while_arguments_are_read_is_counted() {
    let rude = async |_: Socket, holder: Holder| {
        let Holder(Rude) = holder;
    };
    let (mut watched, server) = start(|| Namespace::new("/").on("rude", rude));
    let client = server.connect("/").await;
    let _: serde_json::Value = client.emit_with_ack("rude", &1).await.unwrap();
    assert_eq!(watched.total("socketio_events_received_total{namespace=/,event=rude}"), 1.0);
    let failures = "socketio_handler_failures_total{namespace=/,event=rude,kind=panicked}";
    assert_eq!(watched.total(failures), 1.0);
}

#[tokio::test(start_paused = true)]
async fn names_that_clients_choose_are_no_labels() {
    const OTHER: &str = "socketio_events_received_total{namespace=/,event=other}";
    let (mut watched, server) = start(|| Namespace::new("/").on("known", async |_: Socket, ()| {}));
    let client = server.connect("/").await;
    for n in 0..3 {
        client.emit(&*format!("unknown {n}"), &()).await.unwrap();
    }
    let () = client.emit_with_ack("known", &()).await.unwrap();
    assert_eq!(watched.total(OTHER), 3.0);

    let fallback = async |_: Socket, event: Event| Ack(event.name);
    let (mut watched, server) = start(|| Namespace::new("/").fallback(fallback));
    let client = server.connect("/").await;
    let name: String = client.emit_with_ack("anything", &()).await.unwrap();
    assert_eq!((name.as_str(), watched.total(OTHER)), ("anything", 1.0));
    assert_eq!(watched.total("socketio_handler_seconds{namespace=/,event=other}"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn middleware_counts_under_the_event_that_came() {
    let guard = async |_: Socket, mut event: Event, next: Next<()>| {
        if event.name == "forbidden" {
            return Err(EventError::public("no"));
        }
        event.name = "work".into();
        next.run(event).await
    };
    let (mut watched, server) = start(|| {
        let forbidden = async |_: Socket, ()| {};
        Namespace::new("/").wrap(guard).on("work", work).on("forbidden", forbidden)
    });
    let client = server.connect("/").await;
    watched.changes();
    for (name, how) in [("work", "do it"), ("forbidden", "do it"), ("alias", "panic")] {
        let _: serde_json::Value = client.emit_with_ack(name, how).await.unwrap();
    }
    watched.assert_changes(
        "socketio_",
        &[
            ("socketio_events_received_total{namespace=/,event=forbidden}", 1.0),
            ("socketio_events_received_total{namespace=/,event=other}", 1.0),
            ("socketio_events_received_total{namespace=/,event=work}", 1.0),
            ("socketio_handler_failures_total{namespace=/,event=forbidden,kind=refused}", 1.0),
            ("socketio_handler_failures_total{namespace=/,event=other,kind=panicked}", 1.0),
            ("socketio_handler_seconds{namespace=/,event=forbidden}", 1.0),
            ("socketio_handler_seconds{namespace=/,event=other}", 1.0),
            ("socketio_handler_seconds{namespace=/,event=work}", 1.0),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn children_count_under_their_pattern() {
    let (mut watched, server) = Recorder::new(|| {
        let game = Namespace::new("/game-{id}").on("move", async |_: Socket, ()| {});
        TestServer::new(Server::new().dynamic(game))
    });
    let clients = [server.connect("/game-1").await, server.connect("/game-2").await];
    for client in &clients {
        let () = client.emit_with_ack("move", &()).await.unwrap();
    }
    watched.assert_changes(
        "socketio_",
        &[
            ("socketio_events_received_total{namespace=/game-{id},event=move}", 2.0),
            ("socketio_handler_seconds{namespace=/game-{id},event=move}", 2.0),
            ("socketio_sockets{namespace=/game-{id}}", 2.0),
        ],
    );
    server.server().close().await;
    watched.assert_changes("socketio_", &[("socketio_sockets{namespace=/game-{id}}", -2.0)]);
}

#[tokio::test(start_paused = true)]
async fn broadcasts_and_late_acknowledgements_are_counted() {
    const LATE: &str = "socketio_acks_timed_out_total{namespace=/}";
    const BROADCASTS: &str = "socketio_broadcasts_total{namespace=/}";
    let ask = async |socket: Socket, ()| {
        let answer: Result<(), AckError> = socket.emit_with_ack("question", &()).await;
        Ack(answer.is_err())
    };
    let (mut watched, server) = start(|| Namespace::new("/").on("ask", ask));
    let (one, other) = (server.connect("/").await, server.connect("/").await);
    watched.changes();
    let io = server.server();
    io.emit("news", &()).unwrap();
    io.to("nobody").emit("news", &()).unwrap();
    watched.assert_changes("socketio_", &[(BROADCASTS, 2.0)]);

    let answers = io.of("/").emit_with_ack::<(), _>("question", &()).unwrap().await;
    assert_eq!(answers.missing.len(), 2);
    watched.assert_changes("socketio_", &[(LATE, 2.0), (BROADCASTS, 1.0)]);

    // Neither a dropped request nor a disconnected client counts as late.
    drop(io.of("/").emit_with_ack::<(), _>("question", &()).unwrap());
    let asked = io.of("/").emit_with_ack::<(), _>("question", &()).unwrap();
    let (answers, ..) = tokio::join!(asked, one.disconnect(), other.disconnect());
    assert_eq!(answers.missing.len(), 2);
    watched.assert_changes("socketio_", &[(BROADCASTS, 2.0), ("socketio_sockets{namespace=/}", -2.0)]);

    let client = server.connect("/").await;
    client.emit("ask", &()).await.unwrap();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(watched.total(LATE), 3.0);
}

#[tokio::test]
async fn sockets_that_end_with_their_runtime_are_counted() {
    let (mut watched, server) = start(|| Namespace::new("/"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let task = {
        let server = server.clone();
        runtime.spawn(async move { server.connect("/").await })
    };
    let client = task.await.unwrap();
    assert_eq!(watched.total("socketio_sockets{namespace=/}"), 1.0);
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    assert_eq!(watched.total("socketio_sockets{namespace=/}"), 0.0);
    assert_eq!(watched.total("engineio_sessions{transport=polling}"), 0.0);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn all_metrics_are_documented() {
    let (mut watched, server) = Recorder::new(|| {
        Server::with_cluster(ServerConfig::default(), MemoryBus::new())
            .namespace(Namespace::new("/").on("work", work))
    });
    let documented = include_str!("../../../../docs/observability.md");
    let names = watched.names();
    for name in &names {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not documented");
    }
    let count = documented.matches("| `engineio_").count() + documented.matches("| `socketio_").count();
    assert_eq!(count, names.len());
    watched.assert_changes("", &[]);
    drop(server);
}
