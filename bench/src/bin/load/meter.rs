//! Measurement of operations between two readings of the clocks.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bench::job::{BROKER, Cluster, Job, Latency, OTHER_SERVER, Report};
use hdrhistogram::Histogram;
use nix::{time::ClockId, unistd::Pid};

/// Counts operations that complete between [`Meter::start`] and [`Meter::stop`]. Times are nanoseconds since
/// the beginning of the run.
pub(crate) struct Meter {
    epoch: Instant,
    server: ClockId,
    /// The other processes whose CPU time is measured, by the names of their figures.
    others: Vec<(&'static str, ClockId)>,
    warmup: u64,
    seconds: u64,
    phase: Phase,
    operations: u64,
    latency: Histogram<u64>,
    /// Nanoseconds in which the event loop had nothing to do.
    pub(crate) idle: u64,
    before: Look,
    after: Look,
    /// The value of [`Report::extra`].
    pub(crate) extra: BTreeMap<String, f64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Preparing,
    WarmingUp { until: u64 },
    Counting { until: u64 },
    Done,
}

#[derive(Clone, Default)]
struct Look {
    at: u64,
    idle: u64,
    server: Duration,
    others: Vec<Duration>,
    load: Duration,
    machine: Duration,
}

impl Meter {
    pub(crate) fn new(job: &Job) -> anyhow::Result<Self> {
        let clock = |pid| ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).context("the clock of a process");
        let mut others = Vec::new();
        if let Some(Cluster { pid, broker, .. }) = job.cluster {
            for (name, pid) in [(OTHER_SERVER, pid), (BROKER, broker)] {
                if let Some(pid) = pid {
                    others.push((name, clock(pid)?));
                }
            }
        }
        Ok(Self {
            epoch: Instant::now(),
            server: clock(job.pid)?,
            others,
            warmup: nanoseconds(job.warmup),
            seconds: nanoseconds(job.seconds),
            phase: Phase::Preparing,
            operations: 0,
            latency: Histogram::new_with_bounds(100, 120_000_000_000, 3)?,
            idle: 0,
            before: Look::default(),
            after: Look::default(),
            extra: BTreeMap::new(),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Returns the exact CPU time of all threads of the server.
    pub(crate) fn server_cpu(&self) -> anyhow::Result<Duration> {
        Ok(self.server.now().context("the server is gone")?.into())
    }

    /// Starts the warm-up. The measurement follows.
    pub(crate) fn warm_up(&mut self, now: u64) {
        self.phase = Phase::WarmingUp { until: now + self.warmup };
    }

    /// Starts the measurement.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.operations = 0;
        self.latency.reset();
        self.before = self.look()?;
        self.phase = Phase::Counting { until: u64::MAX };
        Ok(())
    }

    /// Stops the measurement.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.after = self.look()?;
        self.phase = Phase::Done;
        Ok(())
    }

    /// Returns `true` when the measurement is over.
    pub(crate) fn is_over(&mut self, now: u64) -> anyhow::Result<bool> {
        match self.phase {
            Phase::WarmingUp { until } if now >= until => {
                self.start()?;
                self.phase = Phase::Counting { until: self.before.at + self.seconds };
            }
            Phase::Counting { until } if now >= until => self.stop()?,
            _ => {}
        }
        Ok(self.phase == Phase::Done)
    }

    /// Records an operation that began, or should have begun, at `began`.
    pub(crate) fn operation(&mut self, began: u64, now: u64) {
        if self.phase == Phase::Done {
            return;
        }
        self.operations += 1;
        self.latency.saturating_record(now.saturating_sub(began));
    }

    /// Counts operations without a latency.
    pub(crate) fn operations(&mut self, count: u64) {
        self.operations += count;
    }

    fn look(&self) -> anyhow::Result<Look> {
        Ok(Look {
            at: self.now(),
            idle: self.idle,
            server: self.server_cpu()?,
            others: self
                .others
                .iter()
                .map(|(_, clock)| Ok(clock.now()?.into()))
                .collect::<nix::Result<_>>()?,
            load: ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into(),
            machine: machine_cpu()?,
        })
    }

    pub(crate) fn report(mut self) -> anyhow::Result<Report> {
        let (before, after) = (self.before, self.after);
        anyhow::ensure!(self.operations > 0, "nothing was done in the time that counts");
        let wall = (after.at - before.at) as f64 / 1e9;
        let cores = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / wall;
        let server_cores = cores(before.server, after.server);
        let load_cores = cores(before.load, after.load);
        let mut measured = server_cores + load_cores;
        for ((name, _), (before, after)) in self.others.iter().zip(before.others.iter().zip(&after.others)) {
            let used = cores(*before, *after);
            measured += used;
            self.extra.insert((*name).into(), used * wall * 1e6 / self.operations as f64);
        }
        let micros = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Report {
            operations: self.operations,
            seconds: wall,
            cpu_us: server_cores * wall * 1e6 / self.operations as f64,
            server_cores,
            load_cores,
            load_busy: 1.0 - (after.idle - before.idle) as f64 / 1e9 / wall,
            other_cores: (cores(before.machine, after.machine) - measured).max(0.0),
            latency: (!self.latency.is_empty()).then(|| Latency {
                p50: micros(0.5),
                p99: micros(0.99),
                p999: micros(0.999),
                max: self.latency.max() as f64 / 1e3,
            }),
            extra: self.extra,
        })
    }
}

/// Converts seconds to nanoseconds.
pub(crate) fn nanoseconds(seconds: f64) -> u64 {
    Duration::from_secs_f64(seconds).as_nanos() as u64
}

/// Returns the CPU time of all processes on this machine, with a resolution of 10 ms.
fn machine_cpu() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .into_iter()
        .flat_map(str::split_ascii_whitespace)
        .filter_map(|field| field.parse().ok())
        .collect();
    // The sum includes user, nice, system and both kinds of interrupts, and excludes idle and I/O wait.
    let [user, nice, system, _, _, irq, softirq, ..] = ticks[..] else {
        anyhow::bail!("/proc/stat has another form")
    };
    Ok(Duration::from_millis(10 * (user + nice + system + irq + softirq)))
}
