//! The protocol between the runner and the load generator. Job and report are one line of JSON each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A run of the load generator, passed as the only argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The kind of work.
    pub kind: Kind,
    /// The number of clients, or of concurrent life cycles.
    pub connections: usize,
    /// The number of idle clients, each in the shared room and in a room of its own.
    #[serde(default)]
    pub others: usize,
    /// The number of additional rooms of equal size, each with one publisher. Used by [`Kind::Broadcast`].
    #[serde(default)]
    pub rooms: usize,
    /// The number of operations in flight per client.
    #[serde(default = "one")]
    pub window: usize,
    /// Operations per second of all clients together. Without a rate, each operation starts when the previous
    /// one has completed.
    #[serde(default)]
    pub rate: Option<f64>,
    /// The port of the server on 127.0.0.1.
    pub port: u16,
    /// The process id of the server, whose CPU time and memory are measured.
    pub pid: i32,
    /// Seconds of warm-up before the measurement.
    #[serde(default = "half")]
    pub warmup: f64,
    /// Seconds of measurement.
    #[serde(default = "half")]
    pub seconds: f64,
    /// Seconds between a large broadcast and the measurement of the server's memory.
    #[serde(default)]
    pub wait: f64,
    /// The other processes of a cluster. Used by the kinds of work whose names begin with `Cluster`.
    #[serde(default)]
    pub cluster: Option<Cluster>,
    /// Sleeps instead of spinning when there is nothing to read, which leaves the core to other processes.
    #[serde(default)]
    pub sleep: bool,
}

/// The processes of a cluster that the publisher of a [`Job`] is not connected to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Cluster {
    /// The port of the server that the recipients are connected to.
    pub port: u16,
    /// The process id of that server, if it is not the server of the publisher.
    pub pid: Option<i32>,
    /// The process id of the broker, if there is one.
    pub broker: Option<i32>,
}

/// The name of the figure in [`Report::extra`] for the CPU time of the server that delivers, in microseconds per
/// operation.
pub const OTHER_SERVER: &str = "other-server";
/// The name of the figure for the CPU time of the broker.
pub const BROKER: &str = "broker";

fn one() -> usize {
    1
}

fn half() -> f64 {
    0.5
}

/// The kinds of work. Each variant says what counts as an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An event and the event that the server sends back.
    Echo,
    /// An event and its acknowledgement.
    Ack,
    /// An event with an attachment of 1 KiB, and the same event sent back.
    Binary,
    /// A request to join or leave a room, and its acknowledgement.
    Rooms,
    /// One delivery of an event to all clients, or to all clients in a room.
    Broadcast,
    /// Like [`Kind::Echo`] over HTTP long-polling, with a POST and the response to a pending poll.
    Polling,
    /// A WebSocket that is opened, connected to the namespace, and closed.
    Connect,
    /// Like the WebSocket life cycle, but starts with polling, upgrades, and has an event echoed.
    Upgrade,
    /// The disconnect of a socket, which leaves its two rooms.
    Disconnect,
    /// One event that a client of one server publishes to a room, until all clients in it, which are connected
    /// to another server, have received it.
    Cluster,
    /// Like [`Kind::Cluster`], but the other server has no client in the room. Needs a rate.
    ClusterNobody,
    /// One message from `PUBLISH` to a subscriber of the same Redis, without a server. Needs a rate.
    ClusterBare,
    /// No operations. Measures the memory of connections.
    Memory,
    /// No operations. Measures the memory of pending polls.
    PollMemory,
}

/// The result of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// The number of operations that completed during the measurement.
    pub operations: u64,
    /// The duration of the measurement in seconds.
    pub seconds: f64,
    /// CPU time of the server per operation, in microseconds.
    pub cpu_us: f64,
    /// CPU seconds of the server per second.
    pub server_cores: f64,
    /// CPU seconds of the load generator per second. The load generator spins unless it is told to sleep.
    pub load_cores: f64,
    /// The fraction of time in which the load generator had something to do, if it spins.
    pub load_busy: f64,
    /// CPU seconds of all other processes per second, which disturb the measurement.
    pub other_cores: f64,
    /// The latency, from the start or the due time of an operation to its completion.
    pub latency: Option<Latency>,
    /// Additional figures of this kind of work by name, such as bytes per connection or the fraction of
    /// deliveries out of order.
    #[serde(default)]
    pub extra: BTreeMap<String, f64>,
}

impl Report {
    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// Latency percentiles in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The maximum.
    pub max: f64,
}
