//! Measures the duration of one operation of each scenario.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use instruction_counts::hot_paths::{SCENARIOS, Stage};
use tokio::time::Instant;

fn hot_paths(criterion: &mut Criterion) {
    for (name, _) in SCENARIOS {
        let mut stage = Stage::new(name).expect("the scenario is there");
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|operations| {
                let begin = Instant::now();
                // `run` plays whole rounds, so it may do more operations than requested.
                let done = stage.run(operations);
                let nanos = begin.elapsed().as_nanos() * u128::from(operations) / u128::from(done);
                Duration::from_nanos(nanos as u64)
            });
        });
    }
}

criterion_group!(benches, hot_paths);
criterion_main!(benches);
