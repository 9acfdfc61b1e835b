//! What is measured.

use anyhow::ensure;
use bench::job::{Job, Kind};

use crate::options::Options;

/// The tables that results go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// CPU time of one operation, under full load.
    Cost,
}

/// One job, for every peer.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) group: Group,
    /// What happens, and what counts as one operation.
    pub(crate) what: String,
    /// Without port and process.
    pub(crate) job: Job,
    /// In how many rounds.
    pub(crate) rounds: usize,
    /// Whether the server runs on both cores.
    pub(crate) on_all_cores: bool,
    quick: bool,
}

impl Scenario {
    fn new(options: &Options, group: Group, name: &str, what: &str, kind: Kind, connections: usize) -> Self {
        let job = Job {
            kind,
            connections,
            window: 1,
            rate: None,
            port: 0,
            pid: 0,
            warmup: 0.5,
            seconds: options.seconds,
            wait: 0.0,
            sleep: false,
        };
        Self {
            name: name.into(),
            group,
            what: what.into(),
            job,
            rounds: usize::MAX,
            on_all_cores: false,
            quick: false,
        }
    }

    fn window(mut self, window: usize) -> Self {
        self.job.window = window;
        self
    }

    fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    /// Whether it takes too long to be done again when others disturb.
    pub(crate) fn is_long(&self) -> bool {
        self.job.wait > 10.0
    }
}

/// Those that were asked for.
pub(crate) fn all(options: &Options) -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = costs(options);
    let is_asked_for = |scenario: &Scenario| {
        options.scenarios.iter().any(|name| {
            scenario
                .name
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    if !options.scenarios.is_empty() {
        scenarios.retain(is_asked_for);
    } else if options.quick {
        scenarios.retain(|scenario| scenario.quick);
    }
    ensure!(!scenarios.is_empty(), "there are no such scenarios; --list prints the names");
    Ok(scenarios)
}

/// Their names, one in each line.
pub(crate) fn list(options: &Options) -> String {
    let line = |scenario: &Scenario| format!("{:14} {}", scenario.name, scenario.what);
    costs(options).iter().map(line).collect::<Vec<_>>().join("\n")
}

fn costs(options: &Options) -> Vec<Scenario> {
    let cost =
        |name, what, kind, connections| Scenario::new(options, Group::Cost, name, what, kind, connections);
    vec![
        cost("echo-1", "1 client, event and event back", Kind::Echo, 1),
        cost("echo", "100 clients, event and event back", Kind::Echo, 100).quick(),
        cost("echo-1k", "1,000 clients, event and event back", Kind::Echo, 1000),
        cost("echo-w16", "100 clients with 16 events in flight each", Kind::Echo, 100).window(16).quick(),
        cost("ack", "100 clients, event and acknowledgement", Kind::Ack, 100).quick(),
        cost("binary", "100 clients, event with 1 KiB attached and back", Kind::Binary, 100),
        cost("bcast", "1 delivery of a broadcast to 1,000", Kind::Broadcast, 1000).quick(),
        cost("bcast-w8", "the same with 8 broadcasts in flight", Kind::Broadcast, 1000).window(8),
        cost("rooms", "100 clients, a join or leave acknowledged", Kind::Rooms, 100),
    ]
}
