//! Scenarios in which a client of one server publishes events to clients of another server.

use std::{fmt::Write as _, thread, time::Duration};

use anyhow::Context as _;
use bench::job::{BROKER, Cluster, Kind, OTHER_SERVER, Report};

use crate::{
    options::Options,
    peers::{OURS, Peer, output},
    process::{self, Server},
    results::Results,
    scenarios::{Group, Scenario},
    statistics::short,
    table::{with_ratio, write_table},
};

/// The name of the peer without servers.
const BARE: &str = "bare-redis";
/// The time in which two servers find each other.
const SETTLE: Duration = Duration::from_millis(600);

/// The processes of a peer in a cluster scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fleet {
    /// Two servers that Redis connects, with the value of `ADAPTER`.
    Redis(&'static str),
    /// Two servers that NATS connects.
    Nats,
    /// One server, to which the publisher and the recipients are connected.
    OneServer,
    /// Redis alone.
    NoServer,
}

impl Fleet {
    /// Returns `true` if the scenario is meaningful for these processes.
    pub(crate) fn plays(self, scenario: &Scenario) -> bool {
        match self {
            Self::Redis(_) | Self::Nats => true,
            Self::OneServer => scenario.job.kind == Kind::Cluster,
            Self::NoServer => scenario.group == Group::ClusterLatency,
        }
    }
}

/// Adds the peers for the brokers that are installed.
pub(crate) fn add_peers(peers: &mut Vec<Peer>) {
    let Some(redis) = output("redis-server", &["--version"]) else {
        eprintln!("redis-server is not installed: the cluster scenarios are left out.");
        return;
    };
    let of_cluster = |name: &str, version: &str, command: &[String], fleet| Peer {
        name: name.into(),
        version: version.into(),
        command: command.into(),
        fleet: Some(fleet),
        only_clusters: true,
    };
    let own =
        peers.iter().find(|peer| peer.name == OURS).map(|peer| peer.command.clone()).unwrap_or_default();
    for peer in peers.iter_mut().filter(|peer| [OURS, "socketioxide", "node"].contains(&&*peer.name)) {
        peer.fleet = Some(Fleet::Redis("redis"));
    }
    peers.push(of_cluster(
        "socketio-sharded",
        "ours, with sharded pub/sub",
        &own,
        Fleet::Redis("redis-sharded"),
    ));
    peers.push(of_cluster(
        "socketio-streams",
        "ours, with Redis streams",
        &own,
        Fleet::Redis("redis-streams"),
    ));
    if let Some(nats) = output("nats-server", &["--version"]) {
        peers.push(of_cluster("socketio-nats", &format!("ours, with {nats}"), &own, Fleet::Nats));
    } else {
        eprintln!("nats-server is not installed: the peer `socketio-nats` is left out.");
    }
    peers.push(of_cluster("one-server", "ours, without a broker", &own, Fleet::OneServer));
    let version = redis.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    peers.push(of_cluster(BARE, &format!("PUBLISH to SUBSCRIBE, {version}"), &[], Fleet::NoServer));
}

/// Returns the scenarios with two servers.
pub(crate) fn scenarios(options: &Options) -> Vec<Scenario> {
    let at = |group, name: &str, rate: Option<u32>, recipients: usize, kind| {
        let load = rate.map_or("8 events in flight".into(), |rate| format!("{rate} events in a second"));
        let to = match (kind, recipients) {
            (Kind::ClusterNobody, _) => "to a room that nobody has".into(),
            (_, 1) => "to 1 client of the other server".into(),
            _ => format!("to {recipients} clients of the other server"),
        };
        let mut scenario =
            Scenario::new(options, group, name, &format!("{load} {to}"), kind, recipients + 1).window(8);
        scenario.job.rooms = 1;
        scenario.job.rate = rate.map(f64::from);
        scenario.job.seconds = options.seconds.max(2.0);
        scenario
    };
    let cost = |name, rate, recipients| at(Group::Cluster, name, rate, recipients, Kind::Cluster);
    let latency = |name, rate| at(Group::ClusterLatency, name, Some(rate), 1, Kind::Cluster);
    vec![
        at(Group::Cluster, "cluster-nobody", Some(2000), 1, Kind::ClusterNobody),
        cost("cluster-1", Some(2000), 1).quick(),
        cost("cluster-100", Some(100), 100),
        cost("cluster-1-w8", None, 1),
        cost("cluster-100-w8", None, 100),
        latency("cluster-latency-1k", 1000),
        latency("cluster-latency-10k", 10_000),
    ]
}

/// Starts the broker and the servers of a peer, and runs the load generator.
pub(crate) fn measure(options: &Options, peer: &Peer, scenario: &Scenario) -> anyhow::Result<Report> {
    let fleet = peer.fleet.context("no servers for clusters")?;
    let broker = match fleet {
        Fleet::Redis(_) | Fleet::NoServer => Some(Server::start_broker(options, redis)?),
        Fleet::Nats => Some(Server::start_broker(options, nats)?),
        Fleet::OneServer => None,
    };
    let mut job = scenario.job.clone();
    let mut servers = Vec::new();
    if let (Fleet::NoServer, Some(redis)) = (fleet, &broker) {
        job.kind = Kind::ClusterBare;
        job.port = redis.port;
        job.pid = redis.pid()?;
    } else {
        let environment = environment(fleet, broker.as_ref());
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let count = if fleet == Fleet::OneServer { 1 } else { 2 };
        for _ in 0..count {
            servers.push(Server::start(options, &peer.command, false, &environment)?);
        }
        let (publisher, other) = (&servers[0], &servers[count - 1]);
        job.port = publisher.port;
        job.pid = publisher.pid()?;
        job.cluster = Some(Cluster {
            port: other.port,
            pid: (count > 1).then(|| other.pid()).transpose()?,
            broker: broker.as_ref().map(Server::pid).transpose()?,
        });
    }
    thread::sleep(SETTLE);
    process::load(options, &job).with_context(|| format!("{} against {}", scenario.name, peer.name))
}

fn environment(fleet: Fleet, broker: Option<&Server>) -> Vec<(&'static str, String)> {
    let (adapter, scheme) = match fleet {
        Fleet::Redis(adapter) => (adapter, "redis"),
        Fleet::Nats => ("nats", "nats"),
        Fleet::OneServer | Fleet::NoServer => return Vec::new(),
    };
    let url = broker.map(|broker| format!("{scheme}://127.0.0.1:{}", broker.port)).unwrap_or_default();
    vec![("ADAPTER", adapter.into()), ("BROKER_URL", url)]
}

fn redis(port: u16) -> Vec<String> {
    let port = port.to_string();
    // The connections of the load generator have other addresses than 127.0.0.1.
    ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--save", "", "--protected-mode", "no"]
        .map(str::to_owned)
        .into()
}

fn nats(port: u16) -> Vec<String> {
    ["nats-server", "-a", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).into()
}

/// Writes the tables of the cluster scenarios.
pub(crate) fn tables(out: &mut String, results: &Results) {
    let mut rows = Vec::new();
    for scenario in results.of_group(Group::Cluster) {
        let recipients = (scenario.job.connections - 1) as f64;
        let figure = |name: &str| {
            let name = name.to_owned();
            move |report: &Report| report.extra.get(&name).copied()
        };
        let delivery = move |report: &Report| Some(report.extra.get(OTHER_SERVER)? / recipients);
        let mut row = |what: &str, metric: &dyn Fn(&Report) -> Option<f64>| {
            let cell = |peer: &str| with_ratio(results, scenario, peer, metric).unwrap_or_default();
            let cells = results.peers.iter().map(|(peer, _)| cell(peer)).collect();
            rows.push([vec![scenario.what.clone(), what.into()], cells].concat());
        };
        row("server that publishes", &|report| Some(report.cpu_us));
        row("server that delivers", &figure(OTHER_SERVER));
        if recipients > 1.0 {
            row("of this, for one delivery", &delivery);
        }
        row("broker", &figure(BROKER));
    }
    write_table(out, results, "Two servers: CPU time for one event, in µs", rows);

    let p50 = |report: &Report| report.latency.map(|latency| latency.p50);
    let rows = results
        .of_group(Group::ClusterLatency)
        .map(|scenario| {
            let cell = |peer: &str| {
                let mut cell = short(results.figure(&scenario.name, peer, p50)?);
                if let Some(ratio) =
                    results.ratio_to(BARE, &scenario.name, peer, p50).filter(|_| peer != BARE)
                {
                    let _ = write!(cell, " ({ratio:.2}×)");
                }
                Some(cell)
            };
            let cells = results.peers.iter().map(|(peer, _)| cell(peer).unwrap_or_default()).collect();
            [vec![scenario.name.clone(), scenario.what.clone()], cells].concat()
        })
        .collect();
    let title = "Two servers: latency of an event, p50 in µs. In brackets how many times bare Redis it is";
    write_table(out, results, title, rows);
}
