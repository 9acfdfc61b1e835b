//! Servers with the Admin UI, for `official/admin.test.mjs`, `browser/admin*.test.mjs` and `cluster/admin.test.mjs`. They
//! listen on free ports of 127.0.0.1, and print their addresses, each on a line.
//!
//! | variable | meaning |
//! |---|---|
//! | `SERVERS` | the number of servers, by default two, with the ids `one`, `two` and `three` |
//! | `REDIS_URL` | connects them over Redis, also with other processes, and not in memory |
//! | `PREFIX` | is put in front of the ids of the servers |
//! | `MODE` | `production`, or by default `development` |
//! | `READ_ONLY` | if it is set, administrators can only look |
//! | `UI` | the folder of the files of the UI, by default none |
//!
//! The namespace `/` sends each event back, `join` adds a socket to a room, and `rename` sets the name in its data.

#![expect(clippy::print_stdout, reason = "the lines tell the test where the servers listen")]

use std::{
    env,
    error::Error,
    sync::{Mutex, PoisonError},
};

use futures::future::try_join_all;
use serde::Serialize;
use socketio::{ConnectError, Event, MemoryBus, Namespace, Server, ServerConfig};
use socketio_admin::{Admin, AdminFiles, Mode};
use socketio_redis::Classic;
use tokio::net::TcpListener;

/// The hash of `changeit` with the lowest cost.
const PASSWORD: &str = "$2a$04$8Xi9AP6MMkW8584x8GzsTOO7e4.XjeGgbdIhViAZak1H57lo4vBY2";
const IDS: [&str; 3] = ["one", "two", "three"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let servers = env::var("SERVERS").map_or(Ok(2), |servers| servers.parse())?;
    let bus = MemoryBus::default();
    let redis = env::var("REDIS_URL").ok().map(|url| Classic::new(&url)).transpose()?;
    let prefix = env::var("PREFIX").unwrap_or_default();
    let ui = env::var_os("UI").map(AdminFiles::load).transpose()?;
    let mut serving = Vec::new();
    for id in IDS.iter().take(servers) {
        let io = match &redis {
            Some(redis) => Server::with_cluster(ServerConfig::default(), redis.clone()),
            None => Server::with_cluster(ServerConfig::default(), bus.clone()),
        };
        let io = admin()?.server_id(format!("{prefix}{id}")).attach(io.namespace(namespace()));
        io.cluster_connected().await;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        serving.push(match &ui {
            Some(ui) => io.serve(listener).with_fallback(ui.clone()).into_future(),
            None => io.serve(listener).into_future(),
        });
    }
    try_join_all(serving).await?;
    Ok(())
}

/// The data of a socket.
#[derive(Default, Serialize)]
struct User {
    name: Mutex<String>,
}

fn namespace() -> Namespace<User> {
    Namespace::with_auth("/", async |_| Ok::<_, ConnectError>(User::default()))
        .share_data()
        .on("rename", async |socket, name: String| {
            *socket.data().name.lock().unwrap_or_else(PoisonError::into_inner) = name;
        })
        .on("join", async |socket, room: String| socket.join(room))
        .fallback(async |socket, event: Event| socket.emit(event.name, &event.args))
}

fn admin() -> Result<Admin, Box<dyn Error>> {
    let is_production = env::var("MODE").is_ok_and(|mode| mode == "production");
    let mode = if is_production { Mode::Production } else { Mode::Development };
    Ok(Admin::basic_auth("admin", PASSWORD)?.mode(mode).read_only(env::var_os("READ_ONLY").is_some()))
}
