//! Floods of handshakes: sessions that have not joined a namespace are evicted for new ones.

use std::{net::SocketAddr, time::Duration};

use socketio::{EngineConfig, Limit, ServerConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::arena::Arena;
use crate::support::{Client, Polling, eventually, within};

const SESSIONS: usize = 500;
const FLOOD: usize = 18_000;

async fn arena() -> Arena {
    // On a busy machine, the flood takes longer than the default interval, and the clients expect no pings.
    let ping_interval = Duration::from_mins(10);
    let engine = EngineConfig::default().max_sessions(SESSIONS).allow_eio3(true).ping_interval(ping_interval);
    Arena::with_config(ServerConfig::default().engine(engine)).await
}

/// Opens sessions with pipelined requests, on as few connections as the server allows.
async fn flood(address: SocketAddr, protocol: u8) {
    let target = format!("/socket.io/?EIO={protocol}&transport=polling");
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let last = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let mut opened = 0;
    while opened < FLOOD {
        let mut stream = within(TcpStream::connect(address)).await.unwrap();
        let (mut read, mut write) = stream.split();
        let requests = request.repeat(FLOOD - opened - 1) + &last;
        let mut answers = Vec::new();
        // The server may close the connection before it has read all requests.
        let exchange =
            async { tokio::join!(write.write_all(requests.as_bytes()), read.read_to_end(&mut answers)) };
        let _ = within(exchange).await;
        let answers = String::from_utf8(answers).unwrap();
        assert!(!answers.contains("HTTP/1.1 503 "), "after {opened} sessions");
        let more = answers.matches("HTTP/1.1 200 OK\r\n").count();
        assert!(more > 0, "{answers}");
        opened += more;
    }
}

#[tokio::test]
async fn a_flood_of_handshakes_keeps_nobody_out() {
    for protocol in [4, 3] {
        let mut arena = arena().await;
        let mut before = Client::join(&arena.host).await;
        let flood = tokio::spawn(flood(arena.host.address, protocol));
        let mut during = Vec::new();
        while !flood.is_finished() {
            // Sessions that have joined are not evicted, so only half of the sessions are kept open.
            during.push(Client::join(&arena.host).await);
            during.truncate(SESSIONS / 2);
            arena.is_unharmed().await;
        }
        flood.await.unwrap();
        assert!(arena.host.io.limit_hits(Limit::MaxSessions) as usize > FLOOD - SESSIONS);
        assert!(arena.host.io.session_count() <= SESSIONS);

        let mut after = Client::join(&arena.host).await;
        assert_eq!(after.ask(r#"421["mark"]"#).await, "431[]");
        assert_eq!(before.ask(r#"421["mark"]"#).await, "431[]");
        for client in &mut during {
            assert_eq!(client.ask(r#"421["mark"]"#).await, "431[]");
        }
        let mut polling = Polling::join(&arena.host).await;
        polling.send(r#"421["mark"]"#).await;
        assert_eq!(polling.poll().await, "431[]");
    }
}

#[tokio::test]
async fn sessions_that_give_way_leave_nothing() {
    // Clients of version 2 join `/` without a CONNECT packet.
    let arena = arena().await;
    flood(arena.host.address, 3).await;
    eventually(|| arena.host.io.socket_count("/") <= SESSIONS).await;
    eventually(|| arena.host.io.session_count() <= SESSIONS).await;
    let mut joined = Vec::new();
    for _ in 0..SESSIONS - 1 {
        joined.push(Client::join(&arena.host).await);
    }
    eventually(|| arena.host.io.socket_count("/") == SESSIONS - 1).await;
}

#[tokio::test]
async fn clients_that_have_joined_do_not_give_way() {
    let engine = EngineConfig::default().max_pending_sessions(2);
    let arena = Arena::with_config(ServerConfig::default().engine(engine)).await;
    let mut websocket = Client::join(&arena.host).await;
    let mut polling = Polling::join(&arena.host).await;
    let mut first = Client::open(&arena.host).await;
    for _ in 0..2 {
        Polling::open(&arena.host).await;
    }
    assert_eq!(first.ended().await, (1013, "forced close".into()));
    assert_eq!(arena.host.io.limit_hits(Limit::MaxPendingSessions), 1);
    assert_eq!(websocket.ask(r#"421["mark"]"#).await, "431[]");
    polling.send(r#"421["mark"]"#).await;
    assert_eq!(polling.poll().await, "431[]");
}
