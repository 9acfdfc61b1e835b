//! A server and its clients in one thread, to measure the cost of a message.
//!
//! The connections are in memory, so there are no system calls. The clients send precomputed bytes and
//! compare the responses with known bytes, so the measurement includes little besides the server.

mod client;
mod scenario;
mod server;

use tokio::runtime::{Builder, Runtime};

pub(crate) use self::client::{Answer, Client, Door, UPGRADE, masked};
use self::scenario::{Round, Step};

/// All scenarios, each with the number of operations that determines the instructions per operation to half a
/// percent.
///
/// | name | one operation |
/// |---|---|
/// | `echo` | an event with an object of 100 bytes, sent back without being deserialized |
/// | `typed` | the same object, deserialized into a struct and acknowledged with it |
/// | `binary` | an event with an attachment of 1 KiB, sent back |
/// | `polling` | a parked poll, and a POST with an event that completes the poll |
/// | `broadcast` | the delivery of an event to one of 100 members of a room |
/// | `rooms` | joining and leaving a room, each with an acknowledgement |
/// | `connect` | a WebSocket handshake, a CONNECT, and the close |
/// | `batch` | one of 16 events that arrive at once, sent back |
/// | `parse` | one of 64 events that arrive at once, whose arguments are ignored |
/// | `emit` | one of 64 events that a handler emits to its socket |
/// | `wrap` | like `typed`, with middleware that only calls the handler |
/// | `timeout`, `rate-limit`, `deduplicate` | like `typed`, with this middleware |
/// | `fan-out-10`, `fan-out-1000` | like `broadcast`, with this number of members |
pub const SCENARIOS: [(&str, u64); 16] = [
    ("echo", 4000),
    ("typed", 4000),
    ("binary", 4000),
    ("polling", 1500),
    ("broadcast", 10_000),
    ("rooms", 2000),
    ("connect", 2400),
    ("batch", 6400),
    ("parse", 12_800),
    ("emit", 12_800),
    ("wrap", 4000),
    ("timeout", 4000),
    ("rate-limit", 4000),
    ("deduplicate", 4000),
    ("fan-out-10", 10_000),
    ("fan-out-1000", 20_000),
];

/// A scenario that can be played repeatedly.
///
/// # Examples
///
/// ```
/// use instruction_counts::hot_paths::Stage;
///
/// let mut stage = Stage::new("batch").expect("there is such a scenario");
/// // Whole batches of 16 events.
/// assert_eq!(stage.run(20), 32);
/// ```
#[derive(Debug)]
pub struct Stage {
    runtime: Runtime,
    door: Door,
    clients: Vec<Client>,
    round: Round,
}

impl Stage {
    /// Starts a server and connects the clients of a scenario. Returns `None` if no scenario has this name.
    ///
    /// # Panics
    ///
    /// Panics if the server does not respond as expected.
    pub fn new(name: &str) -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (door, clients, round) = runtime.block_on(async {
            let door = server::serve();
            let (clients, round) = scenario::set(name, &door).await?;
            Some((door, clients, round))
        })?;
        Some(Self { runtime, door, clients, round })
    }

    /// Plays at least this many operations, in whole rounds. Returns the number of operations.
    ///
    /// # Panics
    ///
    /// Panics if the server does not respond as expected.
    pub fn run(&mut self, operations: u64) -> u64 {
        let rounds = operations.div_ceil(self.round.operations);
        let Self { runtime, door, clients, round } = self;
        runtime.block_on(async {
            for _ in 0..rounds {
                for step in &round.steps {
                    match step {
                        Step::Open(client) => clients[*client] = Client::open(door).await,
                        Step::Send(client, bytes) => clients[*client].send(bytes).await,
                        Step::Take(client, answer) => clients[*client].take(answer).await,
                        Step::End(client) => clients[*client].end().await,
                    }
                }
            }
        });
        rounds * self.round.operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_played_again_and_again() {
        for (name, _) in SCENARIOS {
            let mut stage = Stage::new(name).unwrap();
            let round = stage.run(1);
            assert_eq!(stage.run(round + 1), 2 * round, "{name}");
        }
        assert!(Stage::new("none").is_none());
    }

    #[test]
    fn the_counted_operations_are_whole_rounds() {
        for (name, operations) in SCENARIOS {
            let round = Stage::new(name).unwrap().round.operations;
            assert_eq!(operations % (4 * round), 0, "{name}");
        }
    }
}
