//! Floods of every kind of input, to measure the cost of a byte from a client.
//!
//! Each flood is sent to a new server over connections in memory. Server and client share one thread.

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

/// The timeout of a flood. Under valgrind everything takes about 50 times as long.
const HANG: Duration = Duration::from_mins(10);

/// A kind of input that is sent repeatedly.
#[derive(Debug)]
pub struct Attack {
    /// The name in the table.
    pub name: String,
    profile: Profile,
    way: Way,
    /// The bytes that are sent repeatedly.
    unit: Vec<u8>,
}

/// The way in which the units reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All at once, over a WebSocket whose client has joined the namespace `/`.
    WebSocket,
    /// Like `WebSocket`, from a client of protocol 3.
    Old,
    /// All at once, over a WebSocket that probes for the upgrade of a polling session.
    Probe,
    /// Sequential requests on one connection. The responses have this status.
    Requests(u16),
    /// Sequential requests, each on a new connection. The responses have this status.
    Connections(u16),
    /// Sequential POST requests with this query. The client has joined the namespace `/`.
    Posts(&'static str),
}

impl Attack {
    /// Returns the number of bytes that a client sends for one unit. For a POST, this includes the head of
    /// the request.
    pub fn unit_len(&self) -> usize {
        match self.way {
            Way::Posts(query) => posted(&"x".repeat(20), query, &self.unit).len(),
            _ => self.unit.len(),
        }
    }

    /// Returns the number of units that have about this many bytes, at least one.
    pub fn units(&self, bytes: usize) -> usize {
        (bytes / self.unit_len()).max(1)
    }

    /// Returns the maximum cost of a byte of this kind, relative to a byte of an echo.
    ///
    /// Features that are off by default may cost more: compression, MessagePack and protocol 3.
    pub fn most(&self) -> f64 {
        if self.profile == Profile::Default { 10.0 } else { 25.0 }
    }

    /// Sends this many units to a new server, and waits until the server has read them.
    ///
    /// # Panics
    ///
    /// Panics if the server does not respond as expected.
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
