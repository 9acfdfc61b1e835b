//! What the runner tells the load generator, and what it hears back: one line of JSON each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One run of the load generator, its only argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// What is done.
    pub kind: Kind,
    /// Clients, or life cycles at a time.
    pub connections: usize,
    /// Clients that do nothing but stand around, each in the room of all and in one of its own.
    #[serde(default)]
    pub others: usize,
    /// As many rooms besides that of all, of one size, in each of which one publishes; for [`Kind::Broadcast`].
    #[serde(default)]
    pub rooms: usize,
    /// Operations that a client has in flight.
    #[serde(default = "one")]
    pub window: usize,
    /// Operations that begin in a second, all clients together; without it, each begins when one has ended.
    #[serde(default)]
    pub rate: Option<f64>,
    /// The server listens on this port of 127.0.0.1.
    pub port: u16,
    /// The server's process, whose CPU time and memory are read.
    pub pid: i32,
    /// Seconds until what is done counts.
    #[serde(default = "half")]
    pub warmup: f64,
    /// Seconds that count.
    #[serde(default = "half")]
    pub seconds: f64,
    /// Seconds between a large broadcast and the look at the server's memory.
    #[serde(default)]
    pub wait: f64,
    /// Sleep when there is nothing to read, instead of asking again: leaves the core to others.
    #[serde(default)]
    pub sleep: bool,
}

fn one() -> usize {
    1
}

fn half() -> f64 {
    0.5
}

/// The kinds of work. What counts as an operation is said for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Event there, event back.
    Echo,
    /// Event there, acknowledgement back.
    Ack,
    /// Event with an attachment of 1 KiB, there and back.
    Binary,
    /// A room is joined or left, and that is acknowledged.
    Rooms,
    /// One delivery of an event that all clients get, or all in one of the rooms.
    Broadcast,
    /// As [`Kind::Echo`] over HTTP long-polling: a POST, and the answer to a pending GET.
    Polling,
    /// A WebSocket is opened, connected to the namespace, and closed.
    Connect,
    /// The same, but it begins with polling, upgrades, and has an event echoed.
    Upgrade,
    /// A socket leaves, and with it its two rooms.
    Disconnect,
    /// No operations: what connections need of the server's memory.
    Memory,
    /// No operations: what pending polls need of it.
    PollMemory,
}

/// What was measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Operations that ended in the time that counts.
    pub operations: u64,
    /// That time.
    pub seconds: f64,
    /// CPU time of the server for one operation, in microseconds.
    pub cpu_us: f64,
    /// CPU seconds of the server in a second.
    pub server_cores: f64,
    /// CPU seconds of the load generator in a second; it spins unless told to sleep.
    pub load_cores: f64,
    /// The part of the time in which the load generator had something to do, if it spins.
    pub load_busy: f64,
    /// CPU seconds of everybody else in a second: what disturbs.
    pub other_cores: f64,
    /// From an operation's beginning, or from when it should have begun, to its end.
    pub latency: Option<Latency>,
    /// Figures of this kind of work only, by name: bytes for one connection, and what part of deliveries others overtook.
    #[serde(default)]
    pub extra: BTreeMap<String, f64>,
}

impl Report {
    /// Operations in a second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the operations took no longer.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}
