//! The processes of the servers and of the load generator.

use std::{
    io::Read as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bench::job::{Job, Report};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::options::Options;

const NICE: &str = "-15";
/// Raises the priority of the process and of its autogroup, if permitted, then replaces the shell with the
/// command. The process id stays the same.
const BECOME: &str = r#"{ echo "$NICE" > /proc/self/autogroup; } 2>/dev/null; exec nice -n "$NICE" "$@" "#;

/// Enough for 19,000 connections to a server that reserves a tenth of its descriptors.
const DESCRIPTORS: u64 = 24_000;

/// Raises the descriptor limit for all child processes and returns the new limit.
pub(crate) fn raise_descriptors() -> anyhow::Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Raising the hard limit requires a privilege.
    if hard < DESCRIPTORS && setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS).is_ok() {
        return Ok(usize::try_from(DESCRIPTORS)?);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(usize::try_from(hard)?)
}

/// Returns a command that is pinned to cores, has a high priority, and ends with this program.
fn command(cores: &str, command: &[String]) -> Command {
    let mut with_all = Command::new("setsid");
    with_all.args(["setpriv", "--pdeathsig", "KILL", "sh", "-c", BECOME, "sh", "taskset", "-c", cores]);
    with_all.args(command).env("NICE", NICE).stdin(Stdio::null());
    with_all
}

/// A running server, which is killed on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server that reads `PORT` and further variables from its environment.
    pub(crate) fn start(
        options: &Options,
        server: &[String],
        on_all_cores: bool,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let cores = if on_all_cores {
            format!("{},{}", options.server_core, options.load_core)
        } else {
            options.server_core.to_string()
        };
        let mut command = command(&cores, server);
        command.env("PORT", port.to_string()).envs(environment.iter().copied());
        Self::spawn(command, port)
    }

    /// Starts a broker, given the command for a port.
    pub(crate) fn start_broker(options: &Options, to: impl Fn(u16) -> Vec<String>) -> anyhow::Result<Self> {
        let port = free_port()?;
        Self::spawn(command(&options.server_core.to_string(), &to(port)), port)
    }

    /// Starts a process, and waits until it listens on its port.
    fn spawn(mut command: Command, port: u16) -> anyhow::Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("setsid, of util-linux")?;
        let mut server = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            ensure!(Instant::now() < deadline, "the server does not listen on port {port}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(crate) fn pid(&self) -> anyhow::Result<i32> {
        Ok(i32::try_from(self.child.id())?)
    }
}

/// Returns a port that was free a moment ago. No other process binds to this address.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that the server has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the load generator.
pub(crate) fn load(options: &Options, job: &Job) -> anyhow::Result<Report> {
    let load = vec![options.bin.join("load").to_string_lossy().into(), serde_json::to_string(job)?];
    let output = command(&options.load_core.to_string(), &load).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let mut line = String::new();
    output.stdout.as_slice().read_to_string(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("the load generator wrote {line}"))
}
