//! Properties of the machine that runs the benchmark.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The context in which a result has to be interpreted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) memory_gib: f64,
}

impl Machine {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let models: Vec<_> = cpuinfo.lines().filter(|line| line.starts_with("model name")).collect();
        let cpu = models.first().and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown CPU").into();
        let total = meminfo.split_whitespace().nth(1).context("/proc/meminfo")?.parse::<f64>()?;
        Ok(Self {
            cpu,
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().into(),
            memory_gib: total / 1024.0 / 1024.0,
        })
    }
}

/// Returns the number of busy cores, measured over a tenth of a second.
fn busy_cores() -> f64 {
    let ticks = || {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let fields = line.split_whitespace().skip(1).map(|field| field.parse::<f64>().unwrap_or(0.0));
        // Fields 3 and 4 are idle and I/O wait.
        fields.take(7).enumerate().filter(|(n, _)| !matches!(n, 3 | 4)).map(|(_, ticks)| ticks).sum::<f64>()
    };
    let before = ticks();
    thread::sleep(Duration::from_millis(100));
    (ticks() - before) / 10.0
}

/// Waits until other processes leave the machine idle, at most for `longest`.
pub(crate) fn wait_for_quiet(longest: Duration) {
    let end = Instant::now() + longest;
    while busy_cores() > 0.3 && Instant::now() < end {
        thread::sleep(Duration::from_millis(200));
    }
}
