//! Runs simulations with many seeds.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Runs a simulation with each seed below `runs`, on all cores. `run` returns what has gone wrong.
///
/// `SIM_RUNS=20000` runs more seeds. `SIM_SEED=42` runs a single one, and together with `SIM_RUNS` repeats it.
///
/// # Panics
///
/// Panics if anything has gone wrong, with the seeds.
pub fn check_seeds(runs: u64, run: impl Fn(u64) -> Vec<String> + Sync) {
    let setting = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let (seed, wanted) = (setting("SIM_SEED"), setting("SIM_RUNS"));
    let end = wanted.unwrap_or(if seed.is_some() { 1 } else { runs });
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        break;
                    }
                    let seed = seed.unwrap_or(number);
                    let violations = run(seed);
                    if !violations.is_empty() {
                        eprintln!("SIM_SEED={seed}\n  {}", violations.join("\n  "));
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    assert!(failed.is_empty(), "{} of {end} runs fail, again with SIM_SEED: {failed:?}", failed.len());
}

#[cfg(test)]
mod tests {
    #[test]
    #[should_panic(expected = "runs fail, again with SIM_SEED: [")]
    fn a_run_that_goes_wrong_is_reported() {
        super::check_seeds(3, |_| vec!["lost".to_owned()]);
    }
}
