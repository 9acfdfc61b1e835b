//! A server that its next version replaces under load. Both accept connections from the same listening socket, so no
//! client is refused. `docs/deployment.md` has the units for systemd.
//!
//! ```sh
//! redis-server &
//! cargo run -p graceful-restart
//! kill -HUP <the printed process id>
//! ```
//!
//! `SIGHUP` starts the program at the same path, which may be a new version, and passes the listening socket to it. When
//! the next version accepts connections, it sends `SIGTERM` to this one, which closes its sessions: each client connects
//! again, to the next version. If the next version does not start, this one continues. `handover.rs` does this.
//!
//! `server.rs` has the server. Redis keeps what clients miss meanwhile.

mod handover;
mod server;

use std::{env, error::Error, io, process, time::Duration};

use listenfd::ListenFd;
use tokio::{
    net::TcpListener,
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::handover::{Handover, announce};

/// The time in which the server must be connected to Redis.
const START_TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    // A connection is a file, and the limit of many systems is 1,024.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    // Before the runtime starts its threads, because this removes variables of the environment.
    let passed = ListenFd::from_env().take_tcp_listener(0)?;
    Builder::new_multi_thread().enable_all().build()?.block_on(run(passed))
}

#[expect(clippy::print_stdout, reason = "the address is what the program is started for")]
async fn run(passed: Option<std::net::TcpListener>) -> Result<(), Box<dyn Error>> {
    let (mut terminated, mut reloaded) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let listener = match passed {
        Some(listener) => listener,
        None => std::net::TcpListener::bind(("127.0.0.1", port()?))?,
    };
    listener.set_nonblocking(true)?;
    let mut handover = Handover::new(listener.try_clone()?);

    let io = server::server()?;
    // A client that returns before the server is connected cannot be recovered. Until then, the previous version serves.
    timeout(START_TIMEOUT, io.cluster_connected()).await.map_err(|_| "Redis does not respond")?;
    println!("graceful-restart: http://{}, process {}", listener.local_addr()?, process::id());
    let serving = io.clone().serve(TcpListener::from_std(listener)?).with_fallback(io.health());
    let serving = tokio::spawn(serving.into_future());
    announce()?;

    loop {
        tokio::select! {
            _ = terminated.recv() => break,
            _ = reloaded.recv() => handover.start_next(),
            ended = handover.next_ended() => match ended {
                Ok(status) => tracing::error!(%status, "the next version has ended, this one continues"),
                Err(error) => tracing::error!(%error, "cannot observe the next version"),
            },
        }
    }
    io.close().await;
    serving.await??;
    Ok(())
}

fn port() -> Result<u16, std::num::ParseIntError> {
    env::var("PORT").map_or(Ok(3000), |port| port.parse())
}
