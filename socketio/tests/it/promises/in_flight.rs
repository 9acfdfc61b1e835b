//! Tests that the number of running handlers is limited, and that the client is held back when the limit is
//! reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socketio::{Ack, AckError, Namespace, Server, ServerConfig, Socket};
use tokio::{io::AsyncWriteExt, sync::Semaphore};

use crate::support::{
    Client, Heard, Host, Log, Polling, eventually, log, serve, serve_namespace, stalls, text,
};

/// Builds a namespace whose handlers record that they have started, and then wait for a permit.
fn gated(path: &str, gate: &Arc<Semaphore>, starts: &Log<u32>) -> Namespace {
    let (gate, starts) = (gate.clone(), starts.clone());
    Namespace::new(path)
        .on("n", async move |_, n: u32| {
            starts.note(n);
            gate.acquire().await.unwrap().forget();
        })
        .on("mark", async |_, ()| ())
}

/// Waits until the server has read everything the client has sent. Events of another namespace are still
/// handled.
async fn reach_mark(client: &mut Client) {
    assert_eq!(client.ask(r#"42/mark,1["mark"]"#).await, "43/mark,1[]");
}

fn events(range: std::ops::Range<u32>) -> Vec<u8> {
    range.flat_map(|n| text(format!(r#"42["n",{n}]"#))).collect()
}

async fn gated_host(max_in_flight: Option<usize>) -> (Host, Arc<Semaphore>, Heard<u32>) {
    let gate = Arc::new(Semaphore::new(0));
    let (starts, started) = log();
    let mut namespace = gated("/", &gate, &starts);
    if let Some(max) = max_in_flight {
        namespace = namespace.max_in_flight(max);
    }
    let host = serve(Server::new().namespace(namespace).namespace(gated("/mark", &gate, &starts))).await;
    (host, gate, started)
}

#[tokio::test]
async fn the_handler_beyond_the_limit_waits() {
    for (max, set) in [(256, None), (1, Some(1)), (3, Some(3))] {
        let (host, gate, mut started) = gated_host(set).await;
        let mut client = Client::join(&host).await;
        client.enter("/mark").await;
        client.write(events(0..max + 2)).await;
        assert_eq!(started.take(max as usize).await, (0..max).collect::<Vec<_>>());
        reach_mark(&mut client).await;
        assert!(started.is_silent(), "more than {max} handlers run");

        gate.add_permits(1);
        assert_eq!(started.next().await, max);
        reach_mark(&mut client).await;
        assert!(started.is_silent());

        gate.add_permits(1);
        assert_eq!(started.next().await, max + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_one_in_flight_handlers_follow_each_other() {
    let running = Arc::new(AtomicUsize::new(0));
    let handler = {
        let running = running.clone();
        async move |_, n: u32| {
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two handlers run");
            for _ in 0..n % 3 {
                tokio::task::yield_now().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            Ack(n)
        }
    };
    let host = serve_namespace(Namespace::new("/").on("n", handler).max_in_flight(1)).await;
    let mut client = Client::join(&host).await;
    let events: Vec<u8> = (0..1000).flat_map(|n| text(format!(r#"42{n}["n",{n}]"#))).collect();
    client.write(events).await;
    for n in 0..1000 {
        assert_eq!(client.text().await, format!("43{n}[{n}]"));
    }
}

#[tokio::test]
async fn a_full_namespace_does_not_stop_another_nor_another_client() {
    let (host, _gate, mut started) = gated_host(Some(1)).await;
    let mut client = Client::join(&host).await;
    client.enter("/mark").await;
    client.write(events(0..50)).await;
    started.next().await;
    reach_mark(&mut client).await;

    let mut other = Client::join(&host).await;
    assert_eq!(other.ask(r#"421["mark"]"#).await, "431[]");
}

/// Writes until the kernel accepts no more bytes for a while, and returns the number of bytes written.
async fn write_until_stalled(client: &mut Client, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        let chunk = &bytes[written..bytes.len().min(written + 64 * 1024)];
        let stream = client.stream();
        // A cancelled `write` has written nothing.
        if stalls(async { written += stream.write(chunk).await.unwrap() }).await {
            break;
        }
    }
    written
}

#[tokio::test]
async fn handlers_that_wait_hold_the_client_back_and_nothing_is_lost() {
    let (host, gate, mut started) = gated_host(None).await;
    let mut client = Client::join(&host).await;
    // More than the kernel buffers can hold.
    let count = 64 * 1024;
    let payload = "x".repeat(1000);
    let bytes: Vec<u8> = (0..count).flat_map(|n| text(format!(r#"42["n",{n},"{payload}"]"#))).collect();
    let written = write_until_stalled(&mut client, &bytes).await;
    assert!(written < bytes.len(), "the server reads on while its handlers wait");
    assert_eq!(started.so_far().len(), 256);

    gate.add_permits(count as usize);
    client.stream().write_all(&bytes[written..]).await.unwrap();
    assert_eq!(started.take(count as usize - 256).await, (256..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn handlers_that_wait_delay_the_answer_to_a_post() {
    let gate = Arc::new(Semaphore::new(0));
    let (starts, mut started) = log();
    let config = ServerConfig::default().max_waiting_bytes(1000_usize);
    let namespace = gated("/", &gate, &starts).max_in_flight(1);
    let host = serve(Server::with_config(config).namespace(namespace)).await;
    let mut client = Polling::join(&host).await;
    let packets: Vec<String> = (0..100).map(|n| format!(r#"42["n",{n}]"#)).collect();
    let body = packets.join("\u{1e}");
    client.post.start("POST", &client.target, "", body).await;
    assert_eq!(started.next().await, 0);
    assert!(stalls(client.post.response()).await);
    gate.add_permits(100);
    assert_eq!(client.post.response().await.body, "ok");
    assert_eq!(started.take(99).await, (1..100).collect::<Vec<_>>());
}

/// Emits an event with an acknowledgement to the client, and returns the result.
async fn ask_back(socket: Socket, (): ()) -> Ack<Result<String, String>> {
    Ack(socket.emit_with_ack("question", &()).await.map_err(|error: AckError| error.to_string()))
}

#[tokio::test]
async fn acknowledgements_pass_while_all_handlers_run() {
    let namespace = Namespace::new("/").on("ask-back", ask_back).on("n", async |_, n: u32| Ack(n));
    let host = serve_namespace(namespace.max_in_flight(1)).await;
    let mut client = Client::join(&host).await;
    client.send(r#"42100["ask-back"]"#).await;
    assert_eq!(client.text().await, r#"420["question"]"#);
    // One event fewer than the limit at which the server stops reading.
    let frames: Vec<u8> = (0..63).flat_map(|n| text(format!(r#"42{n}["n",{n}]"#))).collect();
    client.write([frames, text(r#"430["tea"]"#)].concat()).await;
    assert_eq!(client.text().await, r#"43100[{"Ok":"tea"}]"#);
    for n in 0..63 {
        assert_eq!(client.text().await, format!("43{n}[{n}]"));
    }
}

#[tokio::test]
async fn an_acknowledgement_behind_more_events_than_may_wait_ends_in_a_timeout_and_not_in_a_deadlock() {
    let namespace = Namespace::new("/").on("ask-back", ask_back).on("n", async |_, n: u32| Ack(n));
    let config = ServerConfig::default().ack_timeout(Duration::from_millis(50)).max_waiting_bytes(1000_usize);
    let host = serve(Server::with_config(config).namespace(namespace.max_in_flight(1))).await;
    let mut client = Client::join(&host).await;
    client.send(r#"421000["ask-back"]"#).await;
    assert_eq!(client.text().await, r#"420["question"]"#);
    let frames: Vec<u8> = (0..200).flat_map(|n| text(format!(r#"42{n}["n",{n}]"#))).collect();
    client.write([frames, text(r#"430["tea"]"#)].concat()).await;
    assert_eq!(client.text().await, r#"431000[{"Err":"operation has timed out"}]"#);
    for n in 0..200 {
        assert_eq!(client.text().await, format!("43{n}[{n}]"));
    }
}

/// Lets a handler wait for an acknowledgement that the client sends after `events`. Returns `true` if the
/// server read the acknowledgement while the events were queued.
async fn answer_is_read(config: ServerConfig, events: &[&str]) -> bool {
    let namespace =
        Namespace::new("/").on("ask-back", ask_back).on("n", async |_, _: String| ()).max_in_flight(1);
    let config = config.ack_timeout(Duration::from_millis(300));
    let host = serve(Server::with_config(config).namespace(namespace)).await;
    let mut client = Client::join(&host).await;
    client.send(r#"421["ask-back"]"#).await;
    assert_eq!(client.text().await, r#"420["question"]"#);
    let events: Vec<u8> = events.iter().flat_map(|event| text(format!("42{event}"))).collect();
    client.write([events, text(r#"430["tea"]"#)].concat()).await;
    client.text().await == r#"431[{"Ok":"tea"}]"#
}

#[tokio::test]
async fn the_limits_of_what_may_wait_are_exact() {
    let event = r#"["n","x"]"#;
    // One event may always be queued. The server keeps reading only while the queue is below the limit.
    let config = || ServerConfig::default().max_waiting_bytes(1_usize);
    assert!(answer_is_read(config(), &[]).await);
    assert!(!answer_is_read(config(), &[event]).await);
    // The number of bytes that count for each queued event in addition to its text.
    let overhead = 56;
    let config = || ServerConfig::default().max_waiting_bytes(2 * (event.len() + overhead));
    assert!(answer_is_read(config(), &[event, r#"["n",""]"#]).await);
    assert!(!answer_is_read(config(), &[event, event]).await);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_handlers_wait_is_gone() {
    let (host, gate, mut started) = gated_host(None).await;
    let mut client = Client::join(&host).await;
    client.write(events(0..256)).await;
    started.take(256).await;
    client.close().await;
    host.deserted("/").await;
    // Handlers are not cancelled: each one still waits for a permit and then finishes.
    assert!(Arc::strong_count(&gate) > 256);
    gate.add_permits(256);
    eventually(|| gate.available_permits() == 0).await;
}
