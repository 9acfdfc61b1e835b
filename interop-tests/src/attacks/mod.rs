//! Floods of every kind of input, to measure what a byte of a client costs.
//!
//! Each flood is sent to a server of its own, over connections in memory. Server and client share one thread.

mod kinds;
mod play;
mod server;

use std::time::Duration;

use tokio::{runtime::Builder, time::timeout};

pub use self::kinds::all;
use self::{
    play::{play, posted},
    server::Profile,
};

/// How long a flood may take. Under valgrind everything takes about 50 times as long.
const HANG: Duration = Duration::from_mins(10);

/// A kind of input, sent again and again.
#[derive(Debug)]
pub struct Attack {
    /// The name in the table.
    pub name: String,
    profile: Profile,
    way: Way,
    /// What is sent again and again.
    unit: Vec<u8>,
}

/// How the units reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All at once, over a WebSocket whose client has joined the namespace `/`.
    WebSocket,
    /// The same, from a client of protocol 3.
    Old,
    /// All at once, over a WebSocket that a polling session could be upgraded to.
    Probe,
    /// Requests, one after another on one connection. The answers have this status.
    Requests(u16),
    /// Requests, one after another, each on its own connection. The answers have this status.
    Connections(u16),
    /// Bodies of POST requests with this query, one after another. The client has joined the namespace `/`.
    Posts(&'static str),
}

impl Attack {
    /// The bytes that a client sends for one unit. For a POST they include the head of the request.
    pub fn unit_len(&self) -> usize {
        match self.way {
            Way::Posts(query) => posted(&"x".repeat(20), query, &self.unit).len(),
            _ => self.unit.len(),
        }
    }

    /// The number of units that have about this many bytes, at least one.
    pub fn units(&self, bytes: usize) -> usize {
        (bytes / self.unit_len()).max(1)
    }

    /// How many times as much as a byte of an echo one of this kind may cost.
    ///
    /// What is off by default may cost more: compression, MessagePack and protocol 3.
    pub fn most(&self) -> f64 {
        if self.profile == Profile::Default { 10.0 } else { 25.0 }
    }

    /// Sends this many units to a new server, and waits until the server has read them.
    ///
    /// # Panics
    ///
    /// Panics if the server does not answer as it should.
    pub fn run(&self, units: usize) {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let played = runtime.block_on(async { timeout(HANG, play(self, units)).await });
        assert!(played.is_ok(), "the flood does not end");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_attack_is_taken_to_its_end() {
        let mut names = HashSet::new();
        let failed = |attack: &Attack| {
            let run = || [1, attack.units(4000) + 1].into_iter().for_each(|units| attack.run(units));
            std::panic::catch_unwind(run).is_err()
        };
        let attacks = all();
        let failed: Vec<_> =
            attacks.iter().filter(|attack| failed(attack)).map(|attack| &attack.name).collect();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(attacks.iter().all(|attack| names.insert(&attack.name)), "two of one name");
    }
}
