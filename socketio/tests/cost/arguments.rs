//! Arguments cost a few times their packet, whatever it refers to and however they are read.

#![allow(clippy::print_stdout, reason = "the figures are for docs/limits.md")]

use std::time::{Duration, Instant};

use allocation_counter::measure;
use socketio::Args;

/// Checks that something takes less than so many times the time of another thing. Other processes may be in the way of
/// either, so the fastest of several runs counts.
fn takes_less_than(what: &str, factor: u32, other: impl Fn(), run: impl Fn()) {
    let mut best = [Duration::MAX; 2];
    for round in 0..100 {
        for (best, run) in best.iter_mut().zip([&other as &dyn Fn(), &run]) {
            #[allow(clippy::disallowed_methods, reason = "nothing but the time is looked at")]
            let start = Instant::now();
            run();
            *best = start.elapsed().min(*best);
        }
        if round >= 5 && best[1] < factor * best[0] {
            println!("{what}: {:?} beside {:?}", best[1], best[0]);
            return;
        }
    }
    panic!("{what}: {:?} instead of {:?}", best[1], best[0]);
}

/// Walks arguments in a way that must not cost more for each if there are more of them.
fn linear(what: &str, walk: impl Fn(&Args)) {
    let [few, many] = [4000_u32, 16_000].map(|count| Args::from_values(0..count).unwrap());
    // A clone knows nothing yet.
    let [few, many] = [few, many].map(|args| {
        let walk = &walk;
        move || walk(&args.clone())
    });
    takes_less_than(what, 8, &few, &many);
    let [few, many] = [measure(few), measure(many)].map(|info| info.bytes_total);
    assert!(many < 5 * few + 1000, "{what}: {many} bytes instead of {few}");
}

#[test]
fn every_way_through_arguments_is_linear() {
    linear("forwards", |args| {
        let sum: u32 = (0..args.len()).map(|at| args.get::<u32>(at).unwrap()).sum();
        assert!(sum > 0);
    });
    linear("backwards", |args| {
        assert!((0..args.len()).rev().all(|at| args.get::<usize>(at).unwrap() == at));
    });
    linear("until there is no more", |args| {
        assert_eq!((0..).map_while(|at| args.get::<u32>(at).ok()).count(), args.len());
    });
    linear("a length at a time", |args| {
        let mut at = 0;
        while at < args.len() && !args.is_empty() {
            at += 1;
        }
    });
    linear("all at once", |args| assert_eq!(args.values::<u32>().unwrap().len(), args.len()));
    linear("those behind the first", |args| assert_eq!(args.skip(1).len() + 1, args.len()));
}
