//! A whole server and its clients in one thread, for measurements of what a message costs.
//!
//! The connections are in memory, so no system call is in the way. The clients send bytes that were made beforehand, and
//! compare what comes with bytes that they know: what is measured is the server, and as little else as can be.

mod client;
mod scenario;
mod server;

use tokio::runtime::{Builder, Runtime};

pub(crate) use self::client::{Answer, Client, Door, UPGRADE, masked};
use self::scenario::{Round, Step};

/// All scenarios, each with the number of operations after which the instructions of one are known to half a percent.
///
/// | name | one operation |
/// |---|---|
/// | `echo` | an event with an object of 100 bytes, taken and sent back unread |
/// | `typed` | the same object, read into a struct and acknowledged with it |
/// | `binary` | an event with an attachment of 1 KiB, sent back |
/// | `polling` | a poll that waits, and a POST with an event that answers it |
/// | `broadcast` | what one of 100 members of a room gets of an event |
/// | `rooms` | a room joined and left, each with an acknowledgement |
/// | `connect` | a WebSocket handshake, a CONNECT, and the end |
/// | `batch` | one of 16 events that arrive at once, sent back |
/// | `parse` | one of 64 events that arrive at once, whose arguments are ignored |
/// | `emit` | one of 64 events that a handler emits to its socket |
/// | `fan-out-10`, `fan-out-1000` | as `broadcast`, with that many members |
pub const SCENARIOS: [(&str, u64); 12] = [
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
    ("fan-out-10", 10_000),
    ("fan-out-1000", 20_000),
];

/// A scenario that can be played again and again.
///
/// # Examples
///
/// ```
/// use interop_tests::hot_paths::Stage;
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
    /// Starts a server and connects the clients of a scenario. `None` if there is none of this name.
    ///
    /// # Panics
    ///
    /// Panics if the server does not answer as it should.
    pub fn new(name: &str) -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (door, clients, round) = runtime.block_on(async {
            let door = server::serve();
            let (clients, round) = scenario::set(name, &door).await?;
            Some((door, clients, round))
        })?;
        Some(Self { runtime, door, clients, round })
    }

    /// Plays at least this many operations, in whole rounds, and says how many they were.
    ///
    /// # Panics
    ///
    /// Panics if the server does not answer as it should.
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
