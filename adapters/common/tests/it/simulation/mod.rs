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

const RUNS: u64 = 500;

#[test]
fn nothing_is_lost_doubled_reordered_or_left_behind_over_a_bad_broker() {
    testkit::check_seeds(RUNS, world::run);
}
