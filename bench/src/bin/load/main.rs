//! The load generator: many clients of one server in one thread. `load JOB` takes a [`Job`] and prints a [`Report`].

mod broadcast;
mod meter;
mod net;
mod pace;
mod payload;
mod round_trip;
mod sockets;

use std::{env, io::Write as _, process::ExitCode};

use anyhow::Context as _;
use bench::job::{Job, Kind, Report};

use crate::{broadcast::Broadcast, net::Net, round_trip::RoundTrips, sockets::Sockets};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let job = env::args().nth(1).context("usage: load JOB, a JSON object as in src/job.rs")?;
    let job: Job = serde_json::from_str(&job).context("the job")?;
    let report = measure(&job).with_context(|| format!("{:?}", job.kind))?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(())
}

fn measure(job: &Job) -> anyhow::Result<Report> {
    let mut net = Net::new(job)?;
    match job.kind {
        Kind::Echo | Kind::Ack | Kind::Binary | Kind::Rooms => {
            net.run(&mut Sockets::new(job, RoundTrips::new(job)))?;
        }
        Kind::Broadcast => net.run(&mut Sockets::new(job, Broadcast::new(job)?))?,
    }
    net.meter.report()
}
