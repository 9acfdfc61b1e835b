//! Runs clusters of whole servers on a virtual clock, over a simulated broker that delays, stalls, loses
//! connections and is partitioned, while servers die, close and start, as drawn from a seed. What the brokers
//! with heartbeats share is not simulated: `Peer`, `Members`, `Wanted`, `Writer` and `HeartbeatBackend` run as
//! they are, and so does the encoding of Node.js.
//!
//! `SIM_RUNS=20000` runs more seeds. `SIM_SEED=42` runs a single one, and together with `SIM_RUNS` repeats it: a
//! seed determines the operations, the faults and the delays, but not the order of hash tables.

mod adapter;
mod check;
mod client;
mod history;
mod pubsub;
mod requests;
mod server;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use parking_lot::Mutex;

const RUNS: u64 = 500;

#[test]
fn nothing_is_lost_doubled_reordered_or_left_behind_over_a_bad_broker() {
    let setting = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let (seed, runs) = (setting("SIM_SEED"), setting("SIM_RUNS"));
    let end = runs.unwrap_or(if seed.is_some() { 1 } else { RUNS });
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= end {
                        break;
                    }
                    let seed = seed.unwrap_or(run);
                    let violations = world::run(seed);
                    if !violations.is_empty() {
                        println!("SIM_SEED={seed}\n  {}", violations.join("\n  "));
                        failed.lock().push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner();
    failed.sort_unstable();
    assert!(failed.is_empty(), "{} of {end} runs fail, again with SIM_SEED: {failed:?}", failed.len());
}
