//! The command line.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use lexopt::{Arg, ValueExt as _};

use crate::{process, scenarios};

const HELP: &str = "\
Measures Socket.IO servers: what an operation costs them in CPU time, how long it takes, and what memory they need.

usage: bench/run.sh [OPTION...]

  --quick              one round of few scenarios, about two minutes
  --rounds N           rounds (3); long scenarios have fewer
  --scenarios A,B      only these; `cluster` means all whose names begin with cluster-
  --peers A,B          only these; the names are in the results
  --peer NAME=COMMAND  one more: a server on 127.0.0.1:$PORT, see README.md
  --seconds S          time that counts in each run (1.5)
  --wait S             time between a large broadcast and the look at the memory (60)
  --cores A,B          core of the server and core of the load generator (0,1)
  --out DIR            where the results go (bench/results)
  --render FILE        no run: the tables and the picture of these results
  --list               prints the names of all scenarios
";

/// The parsed command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) scenarios: Vec<String>,
    pub(crate) peers: Vec<String>,
    /// The names and commands of additional peers.
    pub(crate) more_peers: Vec<(String, String)>,
    pub(crate) seconds: f64,
    pub(crate) wait: f64,
    pub(crate) server_core: usize,
    pub(crate) load_core: usize,
    pub(crate) out: PathBuf,
    /// A results file to render again as tables and a chart, instead of running anything.
    pub(crate) render: Option<PathBuf>,
    /// The maximum number of attempts for a disturbed run.
    pub(crate) attempts: usize,
    /// The limit of file descriptors per process.
    pub(crate) descriptors: usize,
    /// The directory of the executables.
    pub(crate) bin: PathBuf,
    /// The directory `bench`.
    pub(crate) home: PathBuf,
}

impl Options {
    /// Parses the command line. Returns `None` if it only requested output such as the help text.
    pub(crate) fn from_args() -> anyhow::Result<Option<Self>> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
        let bin = env::current_exe()?.parent().context("the directory of this program")?.to_path_buf();
        let mut options = Self {
            quick: false,
            rounds: 3,
            scenarios: Vec::new(),
            peers: Vec::new(),
            more_peers: Vec::new(),
            seconds: 1.5,
            wait: 60.0,
            server_core: 0,
            load_core: 1,
            out: home.join("results"),
            render: None,
            attempts: 3,
            descriptors: process::raise_descriptors()?,
            bin,
            home,
        };
        let mut rounds = None;
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("quick") => options.quick = true,
                Arg::Long("rounds") => rounds = Some(parser.value()?.parse()?),
                Arg::Long("scenarios") => options.scenarios = list(&parser.value()?.string()?),
                Arg::Long("peers") => options.peers = list(&parser.value()?.string()?),
                Arg::Long("peer") => {
                    let value = parser.value()?.string()?;
                    let (name, command) = value.split_once('=').context("--peer NAME=COMMAND")?;
                    options.more_peers.push((name.into(), command.into()));
                }
                Arg::Long("seconds") => options.seconds = parser.value()?.parse()?,
                Arg::Long("wait") => options.wait = parser.value()?.parse()?,
                Arg::Long("cores") => {
                    let value = parser.value()?.string()?;
                    let (server, load) = value.split_once(',').context("--cores A,B")?;
                    (options.server_core, options.load_core) = (server.parse()?, load.parse()?);
                }
                Arg::Long("out") => options.out = parser.value()?.into(),
                Arg::Long("render") => options.render = Some(parser.value()?.into()),
                Arg::Long("list") => {
                    println!("{}", scenarios::list(&options));
                    return Ok(None);
                }
                Arg::Long("help") | Arg::Short('h') => {
                    print!("{HELP}");
                    return Ok(None);
                }
                _ => bail!(arg.unexpected()),
            }
        }
        options.attempts = if options.quick { 1 } else { options.attempts };
        options.rounds = rounds.unwrap_or(if options.quick { 1 } else { options.rounds });
        Ok(Some(options))
    }
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}
