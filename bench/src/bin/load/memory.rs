//! The memory cost of connections when they are idle, after use, and after they are closed.

use std::{fs, time::Duration};

use anyhow::{Context as _, ensure};
use bench::{
    frame::{self, TEXT},
    job::Job,
};

use crate::{
    disconnect::close_frame,
    meter::{Meter, nanoseconds},
    net::Net,
    payload::event_argument,
    sockets::Scenario,
};

const LARGE: usize = 128 * 1024;
/// The number of concurrent echoes.
const AT_ONCE: usize = 64;
/// Seconds until the server is idle again.
const REST: f64 = 1.0;

/// Returns the resident memory of a process in bytes, including shared memory.
pub(crate) fn resident(pid: i32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("the memory of the server")?;
    let line =
        text.lines().find(|line| line.starts_with("Rss:")).context("/proc/PID/smaps_rollup without Rss")?;
    let kib: f64 = line.split_whitespace().nth(1).context("Rss without a figure")?.parse()?;
    Ok(kib * 1024.0)
}

/// Measures the memory after each step.
pub(crate) struct Memory {
    pid: i32,
    connections: usize,
    wait: f64,
    at_first: f64,
    cpu_at_first: Duration,
    step: Step,
    /// The end of the step.
    until: u64,
    sent: usize,
    received: usize,
    echo: Exchange,
    large: Exchange,
    close: Vec<u8>,
}

struct Exchange {
    request: Vec<u8>,
    answer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Idle,
    Echoing,
    Echoed,
    Broadcasting,
    Waiting,
    Closing,
    Closed,
}

impl Memory {
    /// Measures the memory before the first connection.
    pub(crate) fn new(job: &Job, meter: &Meter) -> anyhow::Result<Self> {
        let echo = format!(r#"42["echo",{}]"#, event_argument(100));
        let large = event_argument(LARGE);
        Ok(Self {
            pid: job.pid,
            connections: job.connections,
            wait: job.wait,
            at_first: resident(job.pid)?,
            cpu_at_first: meter.server_cpu()?,
            step: Step::Idle,
            until: 0,
            sent: 0,
            received: 0,
            echo: Exchange { request: frame::text(&echo), answer: echo.into() },
            large: Exchange {
                request: frame::text(&format!(r#"42["publish",{large}]"#)),
                answer: format!(r#"42["news",{large}]"#).into(),
            },
            close: close_frame(),
        })
    }

    fn note(&self, net: &mut Net, name: &str) -> anyhow::Result<()> {
        let bytes = (resident(self.pid)? - self.at_first) / self.connections as f64;
        net.meter.extra.insert(name.into(), bytes);
        Ok(())
    }

    fn next(&mut self, net: &Net, step: Step, seconds: f64) {
        self.step = step;
        self.until = net.now() + nanoseconds(seconds);
        self.sent = 0;
        self.received = 0;
    }
}

impl Scenario for Memory {
    fn start(&mut self, net: &mut Net) -> anyhow::Result<()> {
        net.meter.start()?;
        net.meter.operations(self.connections as u64);
        let cpu = net.meter.server_cpu()?.saturating_sub(self.cpu_at_first);
        net.meter.extra.insert("opening_us".into(), cpu.as_secs_f64() * 1e6 / self.connections as f64);
        net.meter.extra.insert("at_first".into(), self.at_first);
        self.next(net, Step::Idle, REST);
        Ok(())
    }

    fn message(&mut self, _net: &mut Net, socket: usize, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let expected = if self.step == Step::Echoing { &self.echo } else { &self.large };
        ensure!(
            matches!(self.step, Step::Echoing | Step::Broadcasting)
                && opcode == TEXT
                && payload == expected.answer,
            "{:?}, socket {socket} got {} bytes",
            self.step,
            payload.len()
        );
        self.received += 1;
        Ok(())
    }

    fn read_all(&mut self, _net: &mut Net, _socket: usize) {}

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        let over = net.now() >= self.until;
        match self.step {
            Step::Idle if over => {
                self.note(net, "idle")?;
                self.next(net, Step::Echoing, 0.0);
            }
            Step::Echoing => {
                while self.sent < self.connections && self.sent - self.received < AT_ONCE {
                    net.send(self.sent, &self.echo.request);
                    self.sent += 1;
                }
                if self.received == self.connections {
                    self.next(net, Step::Echoed, REST);
                }
            }
            Step::Echoed if over => {
                self.note(net, "echoed")?;
                self.next(net, Step::Broadcasting, 0.0);
                net.send(0, &self.large.request);
            }
            Step::Broadcasting if self.received == self.connections => {
                self.next(net, Step::Waiting, self.wait);
            }
            Step::Waiting if over => {
                self.note(net, "broadcast")?;
                self.next(net, Step::Closing, 0.0);
            }
            Step::Closing => {
                while self.sent < self.connections && self.sent - self.received < AT_ONCE {
                    net.send(self.sent, &self.close);
                    self.sent += 1;
                }
                if self.received == self.connections {
                    self.next(net, Step::Closed, REST);
                }
            }
            Step::Closed if over => {
                self.note(net, "closed")?;
                net.meter.stop()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn closed(&mut self, _net: &mut Net, socket: usize) -> anyhow::Result<()> {
        ensure!(self.step == Step::Closing, "the server closed socket {socket} when it was {:?}", self.step);
        self.received += 1;
        Ok(())
    }
}
