//! The figures of the panel: what the server does, measured once a second.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use socketio::Server;
use tokio::time::{Instant, interval};

use crate::room::Room;

/// The room of the viewers that have opened the panel.
pub(crate) const ROOM: &str = "panel";

/// The time of an acknowledgement in milliseconds, as the viewers of `--bots` measure it.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Debug, Serialize)]
struct Panel {
    connections: usize,
    received_per_second: f64,
    sent_per_second: f64,
    /// The share of one core. `None` where the system has no `/proc`.
    cpu: Option<f64>,
    /// Resident memory in bytes.
    memory: Option<u64>,
    latency: Latency,
}

pub(crate) async fn publish(room: Arc<Room>, io: Server) {
    let mut clock = interval(Duration::from_secs(1));
    let (mut time, mut cpu, mut received, mut sent) = (Instant::now(), cpu_time(), 0, 0);
    loop {
        clock.tick().await;
        let seconds = time.elapsed().as_secs_f64().max(0.001);
        time = Instant::now();
        let now = (cpu_time(), room.received.load(Ordering::Relaxed), room.sent.load(Ordering::Relaxed));
        let panel = Panel {
            connections: io.session_count(),
            received_per_second: count(now.1 - received) / seconds,
            sent_per_second: count(now.2 - sent) / seconds,
            cpu: now.0.zip(cpu).map(|(now, before)| (now - before) / seconds),
            memory: memory(),
            latency: *room.latency.lock(),
        };
        (cpu, received, sent) = now;
        // Not volatile: it comes right behind the counts, and would be dropped for a client that these have not left yet.
        let _ = io.local().to(ROOM).emit("panel", &panel);
    }
}

/// Returns a count of one second, which is far below the maximum.
fn count(difference: u64) -> f64 {
    f64::from(u32::try_from(difference).unwrap_or(u32::MAX))
}

/// Returns the CPU time of this process in seconds.
fn cpu_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the process may contain spaces; the fields after it do not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    // Linux counts 100 ticks per second on all platforms.
    Some((ticks()? + ticks()?) / 100.0)
}

/// Returns the resident memory of this process in bytes.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_time_and_memory() {
        assert!(cpu_time().is_some());
        assert!(memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
