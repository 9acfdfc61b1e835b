//! Memory use is bounded whatever clients send, and memory is freed when they disconnect.

use std::{sync::Arc, time::Duration};

use allocation_counter::AllocationInfo;
use serde_json::Value;
use socketio::{AckError, Args, Namespace, Server, ServerConfig, Socket};
use testkit::{
    Polling, WebSocket as Client,
    frames::{FIN, TEXT, binary, frame, text},
    stalls, within,
};
use tokio::{io::AsyncWriteExt, task::yield_now};

use crate::lab::{Host, Lab};

const MAX_MESSAGE: u64 = 1_000_000;

fn lab() -> Lab {
    let namespace = Namespace::new("/")
        .on("args", async |_, _: Args| ())
        .on("value", async |_, _: Value| ())
        .on("unit", async |_, ()| ())
        .on("mark", async |_, ()| ())
        .on("hang", async |_, _: String| std::future::pending::<()>().await)
        .on("join", async |socket, room: String| socket.join(room))
        .on("ask", async |socket: Socket, n: usize| {
            let requests =
                (0..n).map(|_| socket.emit_with_ack::<(), _>("question", &()).timeout(Duration::ZERO));
            for answer in requests.collect::<Vec<_>>() {
                assert!(matches!(answer.await, Err(AckError::Timeout)));
            }
        });
    Lab::new(Server::with_config(ServerConfig::default()).namespace(namespace))
}

/// Connects a client to `/`. An earlier client has made the long-lived tables and buffers of the server grow.
fn joined(lab: &Lab) -> Client {
    async fn first(host: Arc<Host>) {
        let mut client = Client::join(&host).await;
        client.ask(format!(r#"421["value","{}"]"#, "x".repeat(100_000))).await;
        client.close().await;
    }
    lab.run(first(lab.host.clone()));
    let host = lab.host.clone();
    lab.run(async move { Client::join(&host).await }).0
}

/// Returns what the server allocates to process `frames` and a final event, until it has acknowledged the
/// event or closed the session.
fn read(lab: &Lab, mut client: Client, frames: Vec<u8>) -> (Client, AllocationInfo) {
    lab.run(async move {
        client.write(frames).await;
        client.write(text(r#"42999["mark"]"#)).await;
        while client.next().await.is_ok_and(|message| message.to_text().is_ok_and(|text| text != "43999[]")) {
        }
        client
    })
}

#[test]
fn a_length_alone_allocates_nothing() {
    let lab = lab();
    let mut client = joined(&lab);
    let mut header = frame(FIN | TEXT, vec![b'x'; 70_000]);
    header.truncate(14);
    header[2..10].copy_from_slice(&MAX_MESSAGE.to_be_bytes());
    let (_client, info) = lab.run(async move {
        client.write(header).await;
        client
    });
    assert!(info.bytes_max < 1000, "{info:?}");

    let client = joined(&lab);
    let host = lab.host.clone();
    let ((), info) = lab.run(async move {
        let mut polling = Polling::join(&host).await;
        let head = "Content-Length: 1000000\r\nTransfer-Length: not chunked\r\n";
        polling.post.start("POST", &polling.target, head, "x").await;
    });
    assert!(info.bytes_max < 64 * 1024, "{info:?}");
    drop(client);
}

#[test]
fn a_message_takes_a_few_times_its_size_and_gives_it_back() {
    let brackets = "[".repeat(990_000);
    let event = |event: &str, rest: &str| text(format!(r#"421["{event}",{rest}"#));
    let attachments = |len, count| [text(r#"4510-["args",1]"#), binary(vec![0; len]).repeat(count)].concat();
    for (what, message) in [
        ("deep arguments", event("args", &brackets)),
        ("deep arguments that are read", event("value", &brackets)),
        ("deep arguments that are ignored", event("unit", &brackets)),
        ("many arguments", event("args", &format!("{}0]", "0,".repeat(490_000)))),
        ("a long name", event(&brackets, "1]")),
        ("a deep answer", text(format!("431{brackets}"))),
        ("a deep auth", text(format!("40/other,{brackets}"))),
        ("a long namespace", text(format!("40/{brackets},"))),
        ("as many attachments as may be", attachments(100_000, 10)),
        ("more attachments than may be", attachments(100_001, 10)),
        ("too few attachments", attachments(100_000, 9)),
    ] {
        let lab = lab();
        let client = joined(&lab);
        let (client, info) = read(&lab, client, message);
        assert!(info.bytes_max < 3 * MAX_MESSAGE, "{what}: {info:?}");
        let ((), end) = lab.run(client.close());
        assert!(info.bytes_current + end.bytes_current <= 0, "{what}: {info:?}");
    }
}

#[test]
fn handlers_that_hang_hold_as_much_as_may_run_and_wait() {
    let lab = lab();
    let mut client = joined(&lab);
    let event = text(format!(r#"42["hang","{}"]"#, "x".repeat(1000)));
    let (_client, info) = lab.run(async move {
        let bytes = event.repeat(32 * 1024);
        assert!(stalls(client.stream().write_all(&bytes)).await);
        client
    });
    // 256 running handlers, 1 MiB of queued events, the entries of the queue, and the read buffer.
    assert!(info.bytes_max < 2 * 1024 * 1024, "{info:?}");
}

#[test]
fn what_nobody_waits_for_is_not_kept() {
    let lab = lab();
    let client = joined(&lab);
    let frames: Vec<u8> = (0..10_000)
        .flat_map(|n| {
            let forged = text(format!(r#"43{n}["forged answer"]"#));
            let binary = [text(format!("461-{n}[1]")), binary("attachment")].concat();
            let unknown = text(format!(r#"42{n}["unknown {n}"]"#));
            [forged, binary, unknown].concat()
        })
        .collect();
    let (client, info) = read(&lab, client, frames);
    assert!(info.bytes_max < 256 * 1024, "{info:?}");
    assert!(info.bytes_current < 1000, "{info:?}");
    drop(client);
}

#[test]
fn acknowledgements_that_time_out_are_forgotten() {
    let lab = lab();
    let mut client = joined(&lab);
    let (_client, info) = lab.run(async move {
        client.send(r#"421["ask",1000]"#).await;
        while client.text().await != "431[]" {}
        client
    });
    assert!(info.bytes_current < 1000, "{info:?}");
}

async fn join_rooms(mut client: Client, start: usize) -> Client {
    for n in start..start + 1000 {
        client.send(format!(r#"42["join","a room with a long name {n}"]"#)).await;
    }
    assert_eq!(client.ask(r#"42999["mark"]"#).await, "43999[]");
    client
}

#[test]
fn rooms_that_are_left_leave_nothing() {
    let lab = lab();
    let mut client = joined(&lab);
    // The tables of the namespace keep their capacity, so they are grown before the measurement.
    for start in [0, 1000] {
        client = lab.run(join_rooms(client, start)).0;
        lab.run(client.close());
        client = joined(&lab);
    }
    let (client, joining) = lab.run(join_rooms(client, 2000));
    assert!(joining.bytes_current > 30_000, "{joining:?}");
    let ((), leaving) = lab.run(client.close());
    let left = joining.bytes_current + leaving.bytes_current;
    assert!(left <= 0, "{left} bytes stay behind");
}

#[test]
fn clients_that_do_not_read_share_what_waits_for_them() {
    const CLIENTS: usize = 50;
    let lab = lab();
    let host = lab.host.clone();
    let (clients, _) = lab.run(async move {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(Client::join(&host).await);
        }
        clients
    });
    // A hundred of these are more than the kernel buffers for a connection.
    let payload = "x".repeat(100_000);
    let io = &lab.host.io;
    let info = lab.beside_server(within(async {
        for _ in 0..100 {
            io.emit("news", payload.as_str()).unwrap();
            yield_now().await;
        }
    }));
    // 10 MB are queued for each client, but all queues share the encoded packets.
    assert_eq!(io.socket_count("/"), CLIENTS);
    assert!(info.bytes_max < 12 << 20, "{info:?}");
    drop(clients);
}
