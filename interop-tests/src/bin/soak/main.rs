//! Puts the server under load and reports the cost: memory, descriptors, and the latency of other clients.
//!
//! * `soak stalled [--clients 1000] [--rate 100] [--seconds 15] [--megabytes 100] [--each 10] [--policy
//!   disconnect]`: broadcasts to a room at this rate per second without clients, with clients that read, and
//!   with clients that never read. Then it broadcasts `--megabytes` at full speed to clients that never read,
//!   sends `--each` megabytes of separate messages to each client, and lets each client request as many
//!   acknowledgements of a megabyte. The last clients read so slowly that they never finish. A canary requests
//!   echoes all the time.
//! * `soak ramp [--connections 19000] [--polling]`: opens this number of connections, closes them, and
//!   repeats this.
//!
//! With the cargo feature `jemalloc`, `ramp` also requires the resident memory to return to its start.
//!
//! The server runs in a separate process (`soak serve`), so the measurements exclude the clients. The soft
//! limit of open files must be above the number of connections in both processes. If a bound is exceeded, the
//! tool exits with status 1.
#![expect(clippy::print_stdout, reason = "the report is for people, the lines of `serve` for its parent")]

mod child;
mod client;
mod ramp;
mod serve;
mod stalled;

#[cfg(not(feature = "jemalloc"))]
use std::alloc::System as Allocator;
use std::{env, error::Error, process::ExitCode, str::FromStr};

use cap::Cap;
#[cfg(feature = "jemalloc")]
use tikv_jemallocator::Jemalloc as Allocator;

/// Counts live bytes. The memory of a process depends on its allocator as much as on the server.
#[global_allocator]
static HEAP: Cap<Allocator> = Cap::new(Allocator, usize::MAX);

type Failure = Box<dyn Error + Send + Sync>;

/// The command line arguments after the name of the command.
struct Options(Vec<String>);

impl Options {
    fn value<T: FromStr<Err: Into<Failure>>>(&mut self, name: &str, default: T) -> Result<T, Failure> {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(default) };
        let words: Vec<String> = self.0.drain(at..(at + 2).min(self.0.len())).collect();
        let value = words.get(1).ok_or_else(|| format!("{name} needs a value"))?;
        value.parse().map_err(|error: T::Err| format!("{name} {value}: {}", error.into()).into())
    }

    fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    fn done(self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("unknown: {}", self.0.join(" ")).into()) }
    }
}

/// The bounds that were exceeded.
#[derive(Default)]
struct Verdict(Vec<String>);

impl Verdict {
    fn demand(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.0.push(what.into());
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let mut options = Options(env::args().skip(1).collect());
    let command = if options.0.is_empty() { String::new() } else { options.0.remove(0) };
    let verdict = match command.as_str() {
        "serve" => {
            let policy = options.value("--policy", serve::Policy::Disconnect)?;
            options.done()?;
            serve::serve(policy).await?;
            return Ok(ExitCode::SUCCESS);
        }
        "stalled" => {
            let policy = options.value("--policy", serve::Policy::Disconnect)?;
            let room = stalled::Room { clients: options.value("--clients", 1000)?, policy };
            let loads = stalled::Loads {
                rate: options.value("--rate", 100)?,
                seconds: options.value("--seconds", 15)?,
                megabytes: options.value("--megabytes", 100)?,
                each: options.value("--each", 10)?,
            };
            options.done()?;
            stalled::run(room, loads).await?
        }
        "ramp" => {
            let connections = options.value("--connections", 19_000)?;
            let polling = options.flag("--polling");
            options.done()?;
            ramp::run(connections, polling).await?
        }
        _ => return Err("usage: soak stalled | ramp | serve".into()),
    };
    for bound in &verdict.0 {
        println!("FAILED: {bound}");
    }
    Ok(if verdict.0.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
