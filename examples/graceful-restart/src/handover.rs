//! Passes the listening socket to the next version of the program.

use std::{
    env, io,
    net::TcpListener,
    os::fd::OwnedFd,
    process::{self, ExitStatus},
};

use rustix::process::{Pid, Signal, getppid, kill_process};
use sd_notify::NotifyState;
use tokio::process::{Child, Command};

/// The id of the process that has started this one.
const PREVIOUS: &str = "PREVIOUS_VERSION";

/// The listening socket, and the next version while it starts.
pub(crate) struct Handover {
    listener: TcpListener,
    next: Option<Child>,
}

impl Handover {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, next: None }
    }

    /// Starts the next version, unless it is starting already.
    pub(crate) fn start_next(&mut self) {
        if self.next.is_some() {
            return;
        }
        match self.spawn() {
            Ok(next) => self.next = Some(next),
            Err(error) => tracing::error!(%error, "the next version does not start, this one continues"),
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        // Not `current_exe`: if the file was replaced, that is the old one, which has no path any more.
        let path = env::args_os().next().ok_or(io::ErrorKind::NotFound)?;
        Command::new(path)
            .args(env::args_os().skip(1))
            .stdin(OwnedFd::from(self.listener.try_clone()?))
            // The variables of socket activation, for descriptor 0. `LISTEN_PID` is not known before the start.
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDS_FIRST_FD", "0")
            .env(PREVIOUS, process::id().to_string())
            .spawn()
    }

    /// Waits until the next version has ended before it took over.
    pub(crate) async fn next_ended(&mut self) -> io::Result<ExitStatus> {
        let Some(next) = &mut self.next else { return std::future::pending().await };
        let status = next.wait().await;
        self.next = None;
        status
    }
}

/// Tells systemd and the previous version that this one accepts connections.
pub(crate) fn announce() -> io::Result<()> {
    // Without systemd, this does nothing.
    sd_notify::notify(&[NotifyState::MainPid(process::id()), NotifyState::Ready])?;
    // If the previous version has ended meanwhile, this process has another parent.
    let previous = env::var(PREVIOUS).ok().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
    match previous {
        Some(previous) if getppid() == Some(previous) => Ok(kill_process(previous, Signal::TERM)?),
        _ => Ok(()),
    }
}
