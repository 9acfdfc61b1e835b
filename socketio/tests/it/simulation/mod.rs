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

const RUNS: u64 = 2000;

#[test]
fn nothing_is_lost_doubled_or_left_behind_on_a_bad_network() {
    testkit::check_seeds(RUNS, world::run);
}
