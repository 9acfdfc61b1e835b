//! Runs the scenarios against the peers in rounds and writes the results. See `run --help`.

mod chart;
mod cluster;
mod machine;
mod options;
mod peers;
mod process;
mod results;
mod scenarios;
mod statistics;
mod table;

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    machine::Machine,
    options::Options,
    peers::Peer,
    process::Server,
    results::{Results, Run},
    scenarios::Scenario,
};

/// A run is repeated if other processes use more CPU time than this, in cores.
const DISTURBED: f64 = 0.35;
/// The time to wait for other processes to become idle before a run.
const QUIET_WAIT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns `true` if all runs succeeded.
fn run() -> anyhow::Result<bool> {
    let Some(options) = Options::from_args()? else { return Ok(true) };
    if let Some(file) = &options.render {
        Results::read(file, scenarios::everything(&options))?.write(&options)?;
        return Ok(true);
    }
    let began = Instant::now();
    let peers = peers::all(&options)?;
    let scenarios = scenarios::all(&options)?;
    let machine = Machine::read()?;
    let core = options.server_core.max(options.load_core);
    ensure!(core < machine.cores, "there are {} cores, and none with the number {core}", machine.cores);
    let mut results = Results::new(machine, &options, &peers, &scenarios);
    for round in 0..options.rounds {
        for scenario in scenarios.iter().filter(|scenario| round < scenario.rounds) {
            for turn in 0..peers.len() {
                // The order rotates, so that no peer is always the first.
                let peer = &peers[(turn + round) % peers.len()];
                if !peer.plays(scenario) {
                    continue;
                }
                let run = best_of(&options, peer, scenario, round);
                eprintln!("[{:5.0} s] round {round} {}", began.elapsed().as_secs_f64(), run.line());
                results.runs.push(run);
            }
            results.write(&options)?;
        }
    }
    let text = table::markdown(&results);
    println!("{text}");
    Ok(results.runs.iter().all(|run| run.error.is_none()))
}

/// Returns the first undisturbed run, or else the run that other processes disturbed least.
fn best_of(options: &Options, peer: &Peer, scenario: &Scenario, round: usize) -> Run {
    let mut best: Option<Run> = None;
    for _ in 0..options.attempts {
        if scenario.is_repeated() {
            machine::wait_for_quiet(QUIET_WAIT);
        }
        let measured = measure(options, peer, scenario);
        let run = Run::new(round, scenario, peer, measured);
        let done = run.error.is_some() || run.others() <= DISTURBED || !scenario.is_repeated();
        if best.as_ref().is_none_or(|best| run.others() <= best.others()) {
            best = Some(run);
        }
        if done {
            break;
        }
    }
    best.expect("one attempt at least")
}

fn measure(options: &Options, peer: &Peer, scenario: &Scenario) -> anyhow::Result<bench::job::Report> {
    if scenario.is_cluster() {
        return cluster::measure(options, peer, scenario);
    }
    let server = Server::start(options, &peer.command, scenario.on_all_cores, &[])?;
    thread::sleep(Duration::from_millis(150));
    let mut job = scenario.job.clone();
    job.port = server.port;
    job.pid = server.pid()?;
    process::load(options, &job).with_context(|| format!("{} against {}", scenario.name, peer.name))
}
