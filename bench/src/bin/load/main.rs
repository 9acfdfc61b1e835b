//! The load generator, which runs many clients of one server in one thread. `load JOB` takes a [`Job`] and
//! prints a [`Report`].

mod broadcast;
mod churn;
mod cluster;
mod cluster_bare;
mod disconnect;
mod http;
mod memory;
mod meter;
mod net;
mod pace;
mod payload;
mod polling;
mod round_trip;
mod sockets;

use std::{env, io::Write as _, process::ExitCode};

use anyhow::Context as _;
use bench::job::{Job, Kind, Report};

use crate::{
    broadcast::Broadcast, churn::Churn, cluster::Publications, cluster_bare::Bare, disconnect::Disconnect,
    memory::Memory, net::Net, polling::Polling, round_trip::RoundTrips, sockets::Sockets,
};

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
        Kind::Polling | Kind::PollMemory => net.run(&mut Polling::new(job)?)?,
        Kind::Connect | Kind::Upgrade => net.run(&mut Churn::new(job))?,
        Kind::Disconnect => net.run(&mut Sockets::new(job, Disconnect::new(job)))?,
        Kind::Cluster | Kind::ClusterNobody => {
            net.run(&mut Sockets::new(job, Publications::new(job)?))?;
        }
        Kind::ClusterBare => net.run(&mut Bare::new(job)?)?,
        Kind::Memory => net.run(&mut Sockets::new(job, Memory::new(job, &net.meter)?))?,
    }
    net.meter.report()
}
