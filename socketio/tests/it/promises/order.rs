//! Tests that handlers of a socket start in the order of its events, and that emitted events arrive in the
//! order of the emits.

use bytes::Bytes;
use socketio::{Ack, Args, EmitError, EngineConfig, Namespace, Server, ServerConfig, Socket};
use tokio::task::yield_now;

use crate::support::{Client, Polling, binary, log, payload, serve, serve_namespace, text};

const EVENTS: u32 = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_start_in_the_order_of_their_events() {
    let (starts, mut started) = log();
    let (ends, mut ended) = log();
    let host = serve_namespace(Namespace::new("/").on("n", async move |_, n: u32| {
        starts.note(n);
        // Makes some handlers finish before handlers that started earlier.
        for _ in 0..n % 5 {
            yield_now().await;
        }
        ends.note(n);
    }))
    .await;
    let mut client = Client::join(&host).await;
    let events: Vec<u8> = (0..EVENTS).flat_map(|n| text(format!(r#"42["n",{n}]"#))).collect();
    client.write(events).await;
    assert_eq!(started.take(EVENTS as usize).await, (0..EVENTS).collect::<Vec<_>>());
    let mut ended = ended.take(EVENTS as usize).await;
    ended.sort_unstable();
    assert_eq!(ended, (0..EVENTS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_with_and_without_attachments_keep_their_order() {
    let (starts, mut started) = log();
    let host = serve_namespace(Namespace::new("/").on("n", async move |_, args: Args| {
        let n: u32 = args.get(0).unwrap();
        starts.note((n, args.attachments().len()));
        yield_now().await;
    }))
    .await;
    let mut client = Client::join(&host).await;
    let attachments = |n: u32| (n % 3) as usize;
    let events = (0..1000).flat_map(|n| match attachments(n) {
        0 => text(format!(r#"42["n",{n}]"#)),
        count => {
            let header = text(format!(r#"45{count}-["n",{n},{{"_placeholder":true,"num":0}}]"#));
            [header, binary([0; 3]).repeat(count)].concat()
        }
    });
    client.write(events.collect::<Vec<u8>>()).await;
    let expected: Vec<_> = (0..1000).map(|n| (n, attachments(n))).collect();
    assert_eq!(started.take(1000).await, expected);
}

#[tokio::test]
async fn the_packets_of_one_post_keep_their_order() {
    let (starts, mut started) = log();
    let host = serve_namespace(Namespace::new("/").on("n", async move |_, n: u32| starts.note(n))).await;
    let mut client = Polling::open(&host).await;
    let packets: Vec<String> = (0..1000).map(|n| format!(r#"42["n",{n}]"#)).collect();
    let body = format!("40\u{1e}{}", payload(&packets.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(client.post(body).await.body, "ok");
    assert_eq!(started.take(1000).await, (0..1000).collect::<Vec<u32>>());
}

/// Mixes acknowledgements, emits and broadcasts without pausing.
async fn talk(socket: Socket, (): ()) -> Result<Ack<u32>, EmitError> {
    for n in 0..1000_u32 {
        match n % 4 {
            0 => socket.emit("n", &n)?,
            1 => socket.emit("n", &(n, Bytes::from_static(b"attachment")))?,
            2 => socket.namespace().emit("n", &n)?,
            _ => socket.namespace().to(socket.id()).emit("n", &n)?,
        }
    }
    Ok(Ack(1000))
}

#[tokio::test]
async fn what_one_task_emits_arrives_in_that_order() {
    let config = ServerConfig::default().engine(EngineConfig::default().max_buffered(16_usize << 20));
    let host = serve(Server::with_config(config).namespace(Namespace::new("/").on("talk", talk))).await;
    let mut client = Client::join(&host).await;
    client.send(r#"427["talk"]"#).await;
    for n in 0..1000 {
        let packet = client.text().await;
        if n % 4 == 1 {
            assert_eq!(packet, format!(r#"451-["n",{n},{{"_placeholder":true,"num":0}}]"#));
            assert_eq!(client.binary().await, b"attachment");
        } else {
            assert_eq!(packet, format!(r#"42["n",{n}]"#));
        }
    }
    assert_eq!(client.text().await, "437[1000]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_attachments_of_concurrent_emits_do_not_mix() {
    const TASKS: u8 = 8;
    let host = serve_namespace(Namespace::new("/").on("start", async |socket, (): ()| {
        for task in 0..TASKS {
            let socket = socket.clone();
            tokio::spawn(async move {
                for n in 0..100_u8 {
                    let attachment = |part| Bytes::from(vec![task, n, part]);
                    socket.emit("parts", &(task, n, attachment(0), attachment(1))).unwrap();
                    yield_now().await;
                }
            });
        }
    }))
    .await;
    let mut client = Client::join(&host).await;
    client.send(r#"42["start"]"#).await;
    let mut next = [0; TASKS as usize];
    for _ in 0..usize::from(TASKS) * 100 {
        let packet = client.text().await;
        let numbers = packet.strip_prefix(r#"452-["parts","#).unwrap();
        let (task, n) = numbers.split_once(r#",{"_placeholder""#).unwrap().0.split_once(',').unwrap();
        let (task, n): (u8, u8) = (task.parse().unwrap(), n.parse().unwrap());
        assert_eq!(n, next[usize::from(task)], "of task {task}");
        next[usize::from(task)] += 1;
        for part in 0..2 {
            assert_eq!(client.binary().await, [task, n, part]);
        }
    }
}
