//! Limits on what a server holds for the clients and sessions of other servers.

use std::time::Duration;

use engineio::{EngineConfig, Forwarding, Frame};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::{
    forwarding::{SECRET, UNKNOWN, server},
    support::{Http, Polling, Server},
};

const KIB: usize = 1024;
/// The bytes of requests that may wait for another server.
const MAX_QUEUED: usize = 64 * KIB * KIB;

fn forwarding(address: impl ToString) -> Forwarding {
    Forwarding::new(SECRET, address.to_string().parse().unwrap())
}

#[tokio::test]
async fn responses_that_clients_do_not_read_count_in_a_budget() {
    const LARGE: usize = 100 * KIB;
    let mut owner = server().await;
    // The kernel has no buffers between this server and its clients.
    let config = EngineConfig::default().forwarding(forwarding("127.0.0.1:1"));
    let other = Server::with_buffers(config.max_buffered_total(3 * LARGE), KIB);
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Polling::open(&owner).await;
        client.move_to(&other).await;
        clients.push((client, owner.session().await));
    }
    let large = |len: usize| Frame::text(&"x".repeat(len - 1));
    for (client, session) in &mut clients[..3] {
        session.send(&[large(LARGE)]).unwrap();
        client.start_poll().await;
    }
    // A link returns responses in their order, so the other server holds three of them. Short ones do not count.
    let [first, .., fourth, fifth] = &mut clients[..] else { unreachable!() };
    fifth.1.send(&[large(16 * KIB)]).unwrap();
    assert_eq!(fifth.0.poll().await.len(), 16 * KIB);
    fifth.0.send("4short").await;
    assert_eq!(fifth.0.poll().await, "4short");
    fourth.1.send(&[large(16 * KIB + 1)]).unwrap();
    let refused = fourth.0.get.get(&fourth.0.query).await;
    assert_eq!((refused.status, refused.body.as_str()), (400, UNKNOWN));
    // A client that reads its response makes room for the others.
    assert_eq!(first.0.polled().await.len(), LARGE);
    fifth.1.send(&[large(LARGE)]).unwrap();
    assert_eq!(fifth.0.poll().await.len(), LARGE);
}

/// Accepts the connection of another server, which then stays open without being read.
async fn frozen(listener: TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let accepted =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: engineio-forward\r\n\r\n";
    stream.write_all(accepted).await.unwrap();
    stream
}

#[tokio::test]
async fn requests_for_a_frozen_server_are_limited() {
    const BODY: usize = 900 * KIB;
    /// More than the kernel takes for a connection that is not read.
    const KERNEL: usize = 16 * KIB * KIB;
    const REFUSED: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let owner = EngineConfig::default().forwarding(forwarding(listener.local_addr().unwrap()));
    let (owner, other) = (Server::start(owner).await, server().await);
    let frozen = tokio::spawn(frozen(listener));
    let client = Polling::open(&owner).await;
    let start = Instant::now();
    let mut posts = FuturesUnordered::new();
    for _ in 0..(MAX_QUEUED + KERNEL) / BODY + REFUSED {
        let (mut http, query) = (Http::connect(&other).await, client.query.clone());
        posts.push(async move { http.request("POST", &query, "", "x".repeat(BODY)).await });
    }
    for _ in 0..REFUSED {
        let refused = posts.next().await.unwrap();
        assert_eq!((refused.status, refused.body.as_str()), (400, UNKNOWN));
    }
    // The others wait until the server counts as frozen.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    while let Some(refused) = posts.next().await {
        assert_eq!((refused.status, refused.body.as_str()), (400, UNKNOWN));
    }
    assert!(start.elapsed() > Duration::from_secs(4));
    drop(frozen.await.unwrap());
}
