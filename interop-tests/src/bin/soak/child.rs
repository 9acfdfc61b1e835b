//! The server's process: the commands to it, and its statistics from the operating system.

use std::{env, fs, net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{Failure, serve::Policy};

const PAGE: usize = 4096;
/// The configuration that `docs/deployment.md` recommends, for a server with this allocator.
const JEMALLOC: &str = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,tcache:false";

pub(crate) struct Server {
    // The process is killed when this is dropped.
    _process: Child,
    pub(crate) pid: u32,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

/// The server's own counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) sessions: usize,
    pub(crate) sockets: usize,
    pub(crate) tasks: usize,
    pub(crate) live_bytes: usize,
    /// The maximum of `live_bytes` since the start.
    pub(crate) peak_bytes: usize,
}

impl Server {
    pub(crate) async fn start(policy: Policy) -> Result<Self, Failure> {
        let mut process = Command::new(env::current_exe()?)
            .env("_RJEM_MALLOC_CONF", JEMALLOC)
            .args(["serve", "--policy", &policy.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().ok_or("the server has ended")?;
        let input = process.stdin.take().ok_or("no pipe to the server")?;
        let output = process.stdout.take().ok_or("no pipe from the server")?;
        let mut output = BufReader::new(output).lines();
        let port = output.next_line().await?.ok_or("the server has ended")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
        Ok(Self { _process: process, pid, input, output, address })
    }

    /// Sends a command and waits for the response.
    pub(crate) async fn ask(&mut self, command: &str) -> Result<String, Failure> {
        self.input.write_all(format!("{command}\n").as_bytes()).await?;
        Ok(self.output.next_line().await?.ok_or("the server has ended")?)
    }

    pub(crate) async fn gauges(&mut self) -> Result<Gauges, Failure> {
        let answer = self.ask("gauges").await?;
        let numbers: Vec<usize> = answer.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [sessions, sockets, tasks, live_bytes, peak_bytes] = *numbers.as_slice() else {
            return Err(format!("gauges: {answer}").into());
        };
        Ok(Gauges { sessions, sockets, tasks, live_bytes, peak_bytes })
    }

    /// Returns the CPU time of the process.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("stat")?;
        let ticks: u64 = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    pub(crate) fn descriptors(&self) -> Result<usize, Failure> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
    }
}

/// Returns the resident memory of a process.
pub(crate) fn resident(pid: u32) -> Result<usize, Failure> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: usize = statm.split(' ').nth(1).ok_or("statm")?.parse()?;
    Ok(pages * PAGE)
}

/// Returns the memory that the kernel uses for the buffers of all TCP sockets of the machine.
pub(crate) fn kernel_buffers() -> Result<usize, Failure> {
    let sockstat = fs::read_to_string("/proc/net/sockstat")?;
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).ok_or("sockstat")?;
    let pages: usize = tcp.rsplit(' ').next().ok_or("sockstat")?.parse()?;
    Ok(pages * PAGE)
}

pub(crate) fn mib(bytes: usize) -> String {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let mib = bytes as f64 / f64::from(1 << 20);
    format!("{mib:.1} MiB")
}
