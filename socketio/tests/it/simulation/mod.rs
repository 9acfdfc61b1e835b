//! Runs the whole server on a virtual clock, with clients that behave like the official one. A simulated
//! network between them splits, delays, stalls, drops and cuts connections, as drawn from a seed.
//!
//! `SIM_RUNS=20000` runs more seeds, `SIM_SEED=42` runs a single one.

mod client;
mod history;
mod http;
mod network;
mod scenario;
mod server;
mod talk;
mod websocket;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use parking_lot::Mutex;

const RUNS: u64 = 2000;

#[test]
fn nothing_is_lost_doubled_or_left_behind_on_a_bad_network() {
    let setting = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let (first, end) = match setting("SIM_SEED") {
        Some(seed) => (seed, seed + 1),
        None => (0, setting("SIM_RUNS").unwrap_or(RUNS)),
    };
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
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
    assert!(
        failed.is_empty(),
        "{} of {} seeds fail, again with SIM_SEED: {failed:?}",
        failed.len(),
        end - first
    );
}
