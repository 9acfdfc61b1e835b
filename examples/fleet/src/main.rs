//! Three servers in three processes, which a broker connects, and a page that shows who is on which server. Start
//! them with `cargo run -p fleet` and open the printed addresses.
//!
//! `fleet.rs` starts Redis and the servers, and `server.rs` is one of the servers. The program starts itself
//! with the number of a server as its argument. It uses the broker whose URL is the argument, such as
//! `nats://127.0.0.1:4222` or `postgres://user@127.0.0.1/database`, or the Redis of `REDIS_URL`, or starts
//! `redis-server` on a free port.
//!
//! The program prints the ids of all processes. Things to try:
//!
//! - `kill -9` a server: its pages connect to the next one, and the others no longer list its people.
//! - `kill -STOP` a server: "Ask all servers" returns the responses of the others after a second.
//! - `kill -STOP` Redis: each server continues to serve its own pages, and notices within ten seconds that
//!   Redis is away. After `kill -CONT`, the servers connect again.

mod fleet;
mod server;

use std::{env, error::Error};

/// The names of the servers. The first one listens on `PORT`, the others on the next ports.
const NAMES: [&str; 3] = ["A", "B", "C"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").map_or(Ok(3001), |port| port.parse())?;
    match env::args().nth(1) {
        None => fleet::run(port, env::var("REDIS_URL").ok()).await,
        Some(url) if url.contains("://") => fleet::run(port, Some(url)).await,
        Some(index) => server::run(index.parse()?, port).await,
    }
}

/// Returns the address of a server.
fn url(host: &str, port: u16, index: usize) -> String {
    format!("http://{host}:{}", usize::from(port) + index)
}
