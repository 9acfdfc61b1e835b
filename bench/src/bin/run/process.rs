//! Processes that are measured, and the one that measures.

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
/// Raises the priority if that is permitted, also that of the group that the kernel makes of a session, and becomes the
/// command: the process stays the same.
const BECOME: &str = r#"{ echo "$NICE" > /proc/self/autogroup; } 2>/dev/null; exec nice -n "$NICE" "$@" "#;

/// What 19,000 connections take, if a server keeps a tenth of them for other things.
const DESCRIPTORS: u64 = 24_000;

/// Raises the limit of descriptors for all processes that are started, and returns it.
pub(crate) fn raise_descriptors() -> anyhow::Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Beyond the hard limit only with the privilege.
    if hard < DESCRIPTORS && setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS).is_ok() {
        return Ok(usize::try_from(DESCRIPTORS)?);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(usize::try_from(hard)?)
}

/// A command on its cores, of high priority, that ends with this program.
fn command(cores: &str, command: &[String]) -> Command {
    let mut with_all = Command::new("setsid");
    with_all.args(["setpriv", "--pdeathsig", "KILL", "sh", "-c", BECOME, "sh", "taskset", "-c", cores]);
    with_all.args(command).env("NICE", NICE).stdin(Stdio::null());
    with_all
}

/// A server that listens, until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(options: &Options, server: &[String], on_all_cores: bool) -> anyhow::Result<Self> {
        // Free a moment ago, and nobody else is on this address.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let cores = if on_all_cores {
            format!("{},{}", options.server_core, options.load_core)
        } else {
            options.server_core.to_string()
        };
        let child = command(&cores, server)
            .env("PORT", port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("setsid, of util-linux")?;
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

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself needs neither.
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
