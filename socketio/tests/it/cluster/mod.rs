//! Clusters of several servers on one bus.

mod acks;
mod broadcasts;
mod broker;
#[cfg(feature = "testing")]
mod conformance;
mod counted;
mod event_log;
mod health;
mod heartbeats;
mod server_events;
mod silent;
mod utilities;

use std::time::Duration;

use socketio::{Ack, BroadcastOperator, MemoryBus, Namespace, Server, ServerConfig, ServerId, Socket};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Client, Host, serve};

fn namespace() -> Namespace {
    Namespace::new("/")
        .share_data()
        .on("join", async |socket: Socket, room: String| socket.join(room))
        .on("others", async |socket: Socket, n: u32| socket.broadcast().emit("n", &n))
        .on("mark", async |_, ()| ())
        .on_server("sum", async |_, (a, b): (u32, u32)| Ack(a + b))
        .on_server("say", async |sockets: BroadcastOperator, text: String| {
            sockets.local().emit("said", &text)
        })
        .on_server("hang", async |_, ()| std::future::pending::<()>().await)
        .on_server("panic", async |_, ()| -> () { panic!("as it should") })
}

/// Starts servers on one bus.
async fn fleet(count: usize, config: ServerConfig) -> Vec<Host> {
    let bus = MemoryBus::new();
    let mut hosts = Vec::new();
    for _ in 0..count {
        hosts.push(on_bus(&bus, config.clone()).await);
    }
    hosts
}

async fn on_bus(bus: &MemoryBus, config: ServerConfig) -> Host {
    serve(Server::with_cluster(config, bus.clone()).namespace(namespace())).await
}

/// Connects a client to each server and returns it with the id of its socket. Each client joins a room of its
/// own and the room `all`.
async fn clients(hosts: &[Host]) -> Vec<(Client, String)> {
    let mut clients = Vec::new();
    for (n, host) in hosts.iter().enumerate() {
        let mut client = Client::open(host).await;
        let id = client.enter("/").await;
        assert_eq!(client.ask(format!(r#"421["join","{n}"]"#)).await, "431[]");
        assert_eq!(client.ask(r#"421["join","all"]"#).await, "431[]");
        clients.push((client, id));
    }
    clients
}

/// Checks that no unexpected packet has been sent to the client before the acknowledgement of `mark`.
async fn is_silent((client, _): &mut (Client, String)) {
    assert_eq!(client.ask(r#"429["mark"]"#).await, "439[]");
}

/// A server whose runtime is not driven. It neither processes messages nor responds to them.
struct Silent {
    io: Server,
    runtime: Option<Runtime>,
}

impl Silent {
    fn on_bus(bus: &MemoryBus) -> Self {
        Self::with_config(bus, ServerConfig::default())
    }

    fn with_config(bus: &MemoryBus, config: ServerConfig) -> Self {
        let runtime = Builder::new_current_thread().build().unwrap();
        let entered = runtime.enter();
        let io = Server::with_cluster(config, bus.clone()).namespace(namespace());
        drop(entered);
        Self { io, runtime: Some(runtime) }
    }

    fn id(&self) -> ServerId {
        self.io.server_id().unwrap().clone()
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns a configuration with short timeouts.
fn impatient() -> ServerConfig {
    ServerConfig::default()
        .requests_timeout(Duration::from_millis(200))
        .ack_timeout(Duration::from_millis(200))
}
