//! The scenarios of the benchmark.

use anyhow::ensure;
use bench::job::{Job, Kind};

use crate::{cluster, options::Options};

/// The tables of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// The CPU time per operation under full load.
    Cost,
    /// The latency at a rate below the full load of every peer.
    Latency,
    /// The CPU time per delivery, depending on the number of recipients.
    FanOut,
    /// The CPU time of room changes, depending on the number of sockets and rooms.
    Crowd,
    /// Throughput with one core and with two.
    Cores,
    /// The memory per connection and per pending poll.
    Memory,
    /// The CPU time of two servers and their broker for one event from one server to the other.
    Cluster,
    /// The latency of such events.
    ClusterLatency,
}

/// A job that runs against every peer.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) group: Group,
    /// A description that says what counts as one operation.
    pub(crate) what: String,
    /// The job, without port and process id.
    pub(crate) job: Job,
    /// The number of rounds.
    pub(crate) rounds: usize,
    /// `true` if the server may use both cores.
    pub(crate) on_all_cores: bool,
    quick: bool,
}

impl Scenario {
    pub(crate) fn new(
        options: &Options,
        group: Group,
        name: &str,
        what: &str,
        kind: Kind,
        connections: usize,
    ) -> Self {
        let job = Job {
            kind,
            connections,
            others: 0,
            rooms: 0,
            window: 1,
            rate: None,
            port: 0,
            pid: 0,
            warmup: 0.5,
            seconds: options.seconds,
            wait: 0.0,
            cluster: None,
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

    pub(crate) fn window(mut self, window: usize) -> Self {
        self.job.window = window;
        self
    }

    pub(crate) fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    pub(crate) fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    /// Returns `true` if two servers are needed.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.group, Group::Cluster | Group::ClusterLatency)
    }

    /// Returns `true` if disturbed runs are repeated. In scenarios without full load, other processes always
    /// use the idle time of the server's core, with little effect.
    pub(crate) fn is_repeated(&self) -> bool {
        let has_full_load = !matches!(self.job.kind, Kind::Disconnect | Kind::Memory | Kind::PollMemory);
        has_full_load && self.job.rate.is_none()
    }
}

/// Returns the selected scenarios.
pub(crate) fn all(options: &Options) -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = everything(options);
    let known: Vec<String> = scenarios.iter().map(|scenario| scenario.name.clone()).collect();
    let is_asked_for = |scenario: &Scenario| {
        options.scenarios.iter().any(|name| {
            scenario.name == *name || !known.contains(name) && scenario.name.starts_with(&format!("{name}-"))
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

/// Returns the names and descriptions of the scenarios, one per line.
pub(crate) fn list(options: &Options) -> String {
    let line = |scenario: &Scenario| format!("{:14} {}", scenario.name, scenario.what);
    everything(options).iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns all scenarios.
pub(crate) fn everything(options: &Options) -> Vec<Scenario> {
    let parts = [
        costs(options),
        latencies(options),
        memory(options),
        fan_out(options),
        cores(options),
        crowds(options),
        cluster::scenarios(options),
    ];
    parts.concat()
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
        cost("binary", "100 clients, event with 1 KiB attached, and back", Kind::Binary, 100),
        cost("bcast", "delivery of a broadcast to 1,000", Kind::Broadcast, 1000).quick(),
        cost("bcast-w8", "the same with 8 broadcasts in flight", Kind::Broadcast, 1000).window(8),
        cost("rooms", "100 clients, a join or leave acknowledged", Kind::Rooms, 100),
        cost("polling", "100 clients, echo by POST and pending GET", Kind::Polling, 100).quick(),
        cost("connect", "64 clients at a time come by WebSocket and go", Kind::Connect, 64).quick(),
        cost("upgrade", "400 at a time come by polling, upgrade, and go", Kind::Upgrade, 400),
    ]
}

/// Returns the latency scenarios. Their rates are below the full load of the slowest peer.
fn latencies(options: &Options) -> Vec<Scenario> {
    let at = |name: &str, rate: u32, what: &str, kind, connections| {
        let name = format!("latency-{name}");
        let what = format!("{rate} in a second: {what}");
        let mut scenario = Scenario::new(options, Group::Latency, &name, &what, kind, connections).rounds(2);
        scenario.job.rate = Some(rate.into());
        scenario.job.seconds = options.seconds.max(3.0);
        scenario
    };
    vec![
        at("echo", 10_000, "echo, 100 clients", Kind::Echo, 100),
        at("ack", 10_000, "acknowledgement, 100 clients", Kind::Ack, 100),
        at("binary", 10_000, "echo with 1 KiB attached, 100 clients", Kind::Binary, 100),
        at("bcast", 20, "broadcast, until each of 1,000 has it", Kind::Broadcast, 1000),
        at("rooms", 10_000, "join or leave, 100 clients", Kind::Rooms, 100),
        at("polling", 2000, "echo by polling, 100 clients", Kind::Polling, 100),
        at("connect", 1000, "client that comes by WebSocket", Kind::Connect, 64),
        at("upgrade", 200, "client that comes by polling and upgrades", Kind::Upgrade, 400),
    ]
}

fn fan_out(options: &Options) -> Vec<Scenario> {
    let to = |recipients: usize| {
        let (name, what) = (format!("fanout-{recipients}"), format!("delivery to each of {recipients}"));
        Scenario::new(options, Group::FanOut, &name, &what, Kind::Broadcast, recipients).rounds(2)
    };
    crowd_sizes(options).map(to).into()
}

/// Returns the numbers of sockets. The largest leaves room for the active clients, and for servers that
/// reserve a tenth of their descriptors.
fn crowd_sizes(options: &Options) -> [usize; 5] {
    let places = options.descriptors / 10 * 9;
    [10, 100, 1000, 10_000, (places.saturating_sub(600) / 1000 * 1000).clamp(10_001, 19_000)]
}

fn crowds(options: &Options) -> Vec<Scenario> {
    let among = |name: &str, what: &str, kind, connections, others: usize| {
        let (name, what) =
            (format!("{name}-{others}"), format!("{what} among {others} sockets in as many rooms"));
        let mut scenario = Scenario::new(options, Group::Crowd, &name, &what, kind, connections).rounds(2);
        scenario.job.others = others;
        scenario
    };
    let changes =
        crowd_sizes(options).map(|others| among("crowd-rooms", "join or leave", Kind::Rooms, 100, others));
    let ends = crowd_sizes(options)
        .map(|others| among("crowd-disconnect", "disconnect", Kind::Disconnect, 500, others));
    changes.into_iter().chain(ends).collect()
}

fn cores(options: &Options) -> Vec<Scenario> {
    let on = |name, what, kind, window, all| {
        let mut scenario =
            Scenario::new(options, Group::Cores, name, what, kind, 1000).window(window).rounds(2);
        scenario.on_all_cores = all;
        scenario.job.sleep = true;
        scenario
    };
    let echo = "echo, 1,000 clients with 4 in flight; server on one core, clients on the other";
    let broadcast =
        "delivery to each of 1,000, 8 broadcasts in flight; server on one core, clients on the other";
    let rooms = "delivery to each of 100, in 10 rooms with 2 broadcasts in flight each; server on one core, clients on the other";
    let in_rooms = |mut scenario: Scenario| {
        scenario.job.rooms = 10;
        scenario
    };
    let both = "the same; server on both cores, clients on one of them";
    vec![
        on("cores-1-echo", echo, Kind::Echo, 4, false),
        on("cores-2-echo", both, Kind::Echo, 4, true),
        on("cores-1-bcast", broadcast, Kind::Broadcast, 8, false),
        on("cores-2-bcast", both, Kind::Broadcast, 8, true),
        in_rooms(on("cores-1-rooms", rooms, Kind::Broadcast, 2, false)),
        in_rooms(on("cores-2-rooms", both, Kind::Broadcast, 2, true)),
    ]
}

fn memory(options: &Options) -> Vec<Scenario> {
    let of = |name, what, kind, connections| {
        Scenario::new(options, Group::Memory, name, what, kind, connections).rounds(1)
    };
    let mut all = of("memory", "10,000 sockets", Kind::Memory, 10_000);
    all.job.wait = options.wait;
    vec![all, of("memory-polls", "5,000 pending polls", Kind::PollMemory, 5000)]
}
