//! The results of all runs.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;
use bench::job::Report;
use serde::{Deserialize, Serialize};

use crate::{
    chart,
    machine::Machine,
    options::Options,
    peers::{OURS, Peer},
    scenarios::{Group, Scenario},
    statistics::{median, short},
    table,
};

/// The result of one scenario with one server in one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    round: usize,
    scenario: String,
    peer: String,
    report: Option<Report>,
    /// The error if the run failed, for example because of a wrong response.
    pub(crate) error: Option<String>,
}

impl Run {
    pub(crate) fn new(
        round: usize,
        scenario: &Scenario,
        peer: &Peer,
        measured: anyhow::Result<Report>,
    ) -> Self {
        let (report, error) = match measured {
            Ok(report) => (Some(report), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Self { round, scenario: scenario.name.clone(), peer: peer.name.clone(), report, error }
    }

    /// Returns the CPU time that other processes used during the run, in cores.
    pub(crate) fn others(&self) -> f64 {
        self.report.as_ref().map_or(0.0, |report| report.other_cores)
    }

    /// Returns a line of progress output.
    pub(crate) fn line(&self) -> String {
        let name = format!("{:14} {:14}", self.scenario, self.peer);
        match (&self.report, &self.error) {
            (Some(report), _) => format!(
                "{name} {:9.3} µs {:9}/s, server {:.2}, load {:.2}, others {:.2}",
                report.cpu_us,
                short(report.rate()),
                report.server_cores,
                report.load_busy,
                report.other_cores
            ),
            (None, error) => format!("{name} FAILED: {}", error.as_deref().unwrap_or("no word why")),
        }
    }
}

/// All results of a benchmark.
#[derive(Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) when: String,
    pub(crate) machine: Machine,
    /// The names and versions of the peers.
    pub(crate) peers: Vec<(String, String)>,
    pub(crate) seconds: f64,
    #[serde(skip)]
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) runs: Vec<Run>,
}

impl Results {
    pub(crate) fn new(machine: Machine, options: &Options, peers: &[Peer], scenarios: &[Scenario]) -> Self {
        let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H%M%SZ"]).output();
        Self {
            when: date
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
                .unwrap_or_default(),
            machine,
            peers: peers.iter().map(|peer| (peer.name.clone(), peer.version.clone())).collect(),
            seconds: options.seconds,
            scenarios: scenarios.to_vec(),
            runs: Vec::new(),
        }
    }

    /// Reads the results of an earlier benchmark.
    pub(crate) fn read(file: &Path, mut scenarios: Vec<Scenario>) -> anyhow::Result<Self> {
        let mut results: Self =
            serde_json::from_str(&fs::read_to_string(file)?).context("results of `run`")?;
        scenarios.retain(|scenario| results.runs.iter().any(|run| run.scenario == scenario.name));
        results.scenarios = scenarios;
        Ok(results)
    }

    /// Returns the scenarios of a table.
    pub(crate) fn of_group(&self, group: Group) -> impl Iterator<Item = &Scenario> {
        self.scenarios.iter().filter(move |scenario| scenario.group == group)
    }

    fn reports(&self, scenario: &str, peer: &str) -> impl Iterator<Item = (usize, &Report)> {
        self.runs
            .iter()
            .filter(move |run| run.scenario == scenario && run.peer == peer)
            .filter_map(|run| Some((run.round, run.report.as_ref()?)))
    }

    /// Returns the median of a figure over all rounds.
    pub(crate) fn figure(
        &self,
        scenario: &str,
        peer: &str,
        metric: impl Fn(&Report) -> Option<f64>,
    ) -> Option<f64> {
        median(self.reports(scenario, peer).filter_map(|(_, report)| metric(report)))
    }

    /// Returns the ratio of a peer's figure to ours, as the median of the ratios of all rounds.
    pub(crate) fn ratio(
        &self,
        scenario: &str,
        peer: &str,
        metric: impl Fn(&Report) -> Option<f64>,
    ) -> Option<f64> {
        self.ratio_to(OURS, scenario, peer, metric)
    }

    /// Returns the ratio of a peer's figure to that of another peer.
    pub(crate) fn ratio_to(
        &self,
        base: &str,
        scenario: &str,
        peer: &str,
        metric: impl Fn(&Report) -> Option<f64>,
    ) -> Option<f64> {
        let base = |wanted| self.reports(scenario, base).find(|(round, _)| *round == wanted);
        median(
            self.reports(scenario, peer)
                .filter_map(|(round, report)| Some(metric(report)? / metric(base(round)?.1)?)),
        )
    }

    /// Writes `<when>.json` with all results, `latest.md` and `chart.svg`.
    pub(crate) fn write(&self, options: &Options) -> anyhow::Result<()> {
        fs::create_dir_all(&options.out)?;
        fs::write(options.out.join(format!("{}.json", self.when)), serde_json::to_string_pretty(self)?)?;
        fs::write(options.out.join("latest.md"), table::markdown(self))?;
        fs::write(options.out.join("chart.svg"), chart::svg(self))?;
        Ok(())
    }
}
