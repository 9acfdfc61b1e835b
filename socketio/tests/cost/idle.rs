//! An idle connection owns one task and no buffer, regardless of previous traffic.

use std::sync::Arc;

use allocation_counter::AllocationInfo;
use socketio::{Args, EngineConfig, Namespace, Server, ServerConfig, Socket};
use testkit::{
    WebSocket as Client,
    frames::{binary, text},
};
use tokio::task::yield_now;

use crate::lab::{Host, Lab};

const CONNECTIONS: u16 = 200;
/// Maximum size of an idle connection in one namespace and one room. It includes the task, the session, the
/// socket, the handshake request, the entries in the tables of the server, and the memory of the runtime for
/// the TCP socket and the task.
const MAX_BYTES: i64 = 2432;
/// Maximum average growth of a connection that was busy, in bytes. Tables of the server and queues of the
/// runtime may have grown, but nothing that belongs to the connection.
const SLACK: i64 = 16;
/// Maximum number of allocations that all connections together may leave in these tables and queues.
const FEW: i64 = 4;

fn lab() -> Lab {
    let namespace = Namespace::new("/")
        .on_connect(async |socket: Socket| socket.join("room").unwrap())
        .on("echo", async |socket, args: Args| {
            yield_now().await;
            socket.emit("echo", &args).unwrap();
        })
        .on("burst", async |socket, n: u32| {
            (0..n).try_for_each(|n| socket.emit("n", &(n, "x".repeat(1000))))
        });
    let engine = EngineConfig::default().max_buffered(8_usize << 20);
    Lab::new(Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace))
}

async fn connect(host: Arc<Host>) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::join(&host).await);
    }
    clients
}

async fn disconnect(clients: Vec<Client>) {
    for client in clients {
        client.close().await;
    }
}

/// Echoes a large message and a large attachment on each connection.
async fn echo(mut clients: Vec<Client>) -> Vec<Client> {
    let packet = format!(r#"42["echo","{}"]"#, "x".repeat(100_000));
    let header = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
    for client in &mut clients {
        assert_eq!(client.ask(&packet).await, packet);
        client.write([text(header), binary(vec![0; 100_000])].concat()).await;
        assert_eq!(client.text().await, header);
        assert_eq!(client.binary().await.len(), 100_000);
    }
    clients
}

/// Sends many messages in both directions at once, so that handlers overlap and events and frames are queued.
async fn burst(mut clients: Vec<Client>) -> Vec<Client> {
    let events = [text(r#"42["burst",300]"#), text(r#"42["echo",1]"#).repeat(300)].concat();
    for client in &mut clients {
        client.write(&events).await;
    }
    for client in &mut clients {
        for _ in 0..600 {
            client.text().await;
        }
    }
    clients
}

#[test]
fn an_idle_websocket_owns_one_task_and_no_buffer() {
    let lab = lab();
    // The first connections allocate what the thread keeps, such as its buffers.
    let (clients, _) = lab.run(connect(lab.host.clone()));
    let (clients, _) = lab.run(echo(clients));
    let (clients, _) = lab.run(burst(clients));
    lab.run(disconnect(clients));
    let tasks = lab.tasks();

    let (clients, idle) = lab.run(connect(lab.host.clone()));
    assert_eq!(lab.host.io.session_count(), usize::from(CONNECTIONS));
    assert_eq!(lab.tasks(), tasks + usize::from(CONNECTIONS));
    let each = idle.bytes_current / i64::from(CONNECTIONS);
    assert!(each <= MAX_BYTES, "{each} bytes for an idle connection");

    let (clients, after_echo) = lab.run(echo(clients));
    assert_nothing_kept(&after_echo, "an echo of 100 kB");
    let (clients, after_burst) = lab.run(burst(clients));
    assert_nothing_kept(&after_burst, "a burst");
    assert_eq!(lab.tasks(), tasks + usize::from(CONNECTIONS));

    let ((), end) = lab.run(disconnect(clients));
    assert_eq!(lab.tasks(), tasks);
    let phases = [&idle, &after_echo, &after_burst, &end];
    let left: i64 = phases.iter().map(|phase| phase.count_current).sum();
    assert!(left <= FEW, "{left} allocations stay behind");
}

fn assert_nothing_kept(info: &AllocationInfo, what: &str) {
    assert!(info.count_current <= FEW, "{} allocations more after {what}", info.count_current);
    let kept = info.bytes_current / i64::from(CONNECTIONS);
    assert!(kept <= SLACK, "{kept} bytes more for each connection after {what}");
}
