//! Starts Redis and the servers, and ends them.

use std::{
    env,
    error::Error,
    io,
    net::{Ipv4Addr, TcpListener},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, ChildStdin, Command},
    task::JoinSet,
    time::timeout,
};

use crate::{NAMES, url};

/// The time within which the servers must end.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs until the user stops the program, or until all servers have ended.
#[expect(clippy::print_stdout, reason = "the addresses are what the program is started for")]
pub(crate) async fn run(port: u16, broker_url: Option<String>) -> Result<(), Box<dyn Error>> {
    // Once, before the servers need it.
    client_files::fetch()?;
    let (broker_url, redis) = match broker_url {
        Some(url) => (url, None),
        None => start_redis()?,
    };
    match redis.as_ref().and_then(Child::id) {
        Some(id) => println!("fleet: {broker_url}, process {id}"),
        None => println!("fleet: {broker_url}"),
    }

    let mut stdins = Vec::new();
    let mut servers = JoinSet::new();
    for (index, name) in NAMES.iter().enumerate() {
        let (mut server, stdin) = start_server(index, port, &broker_url)?;
        println!(
            "fleet: {}, server {name}, process {}",
            url("127.0.0.1", port, index),
            server.id().unwrap_or(0)
        );
        stdins.push(stdin);
        servers.spawn(async move { (*name, server.wait().await) });
    }

    loop {
        tokio::select! {
            stopped = stop() => {
                stopped?;
                break;
            }
            ended = servers.join_next() => match ended {
                Some(ended) => report(ended?),
                None => break,
            },
        }
    }
    // The end of its input tells a server to end. It also tells it if this process is killed.
    drop(stdins);
    let ended = timeout(END_TIMEOUT, async {
        while let Some(ended) = servers.join_next().await {
            report(ended?);
        }
        Ok::<_, Box<dyn Error>>(())
    });
    ended.await??;
    if let Some(mut redis) = redis {
        redis.kill().await?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the user has ended the server")]
fn report((name, status): (&str, io::Result<ExitStatus>)) {
    match status {
        Ok(status) => println!("fleet: server {name} has ended ({status})"),
        Err(error) => println!("fleet: server {name}: {error}"),
    }
}

/// Starts this program as one of the servers.
fn start_server(index: usize, port: u16, broker_url: &str) -> io::Result<(Child, Option<ChildStdin>)> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(index.to_string()).env("PORT", port.to_string()).env("BROKER_URL", broker_url);
    let mut server = in_background(&mut command).stdin(Stdio::piped()).spawn()?;
    let stdin = server.stdin.take();
    Ok((server, stdin))
}

/// Starts Redis on a free port, without persistence.
fn start_redis() -> Result<(String, Option<Child>), Box<dyn Error>> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    match in_background(&mut command).spawn() {
        Ok(redis) => Ok((format!("redis://127.0.0.1:{port}"), Some(redis))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("redis-server is not installed; please install it, or give the URL of a broker".into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Keeps Ctrl-C from the process: this program ends its processes itself, the servers before Redis.
fn in_background(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    command.process_group(0);
    command.kill_on_drop(true)
}

/// Waits until the user stops the program.
async fn stop() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
            _ = hangup.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
