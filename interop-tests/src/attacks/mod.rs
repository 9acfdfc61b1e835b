//! What a client can make a server do, by the byte that it sends: floods of one kind each, against a whole server in one
//! thread, over connections in memory.

mod kinds;
mod play;
mod server;

use std::time::Duration;

use tokio::{runtime::Builder, time::timeout};

pub use self::kinds::all;
use self::{play::play, server::Profile};

/// Long enough for all instructions to be counted.
const HANG: Duration = Duration::from_mins(10);

/// A kind of input, sent again and again.
#[derive(Debug)]
pub struct Attack {
    /// What it is called in the table.
    pub name: String,
    profile: Profile,
    way: Way,
    /// What is sent again and again.
    unit: Vec<u8>,
}

/// How the units reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All at once, on a WebSocket whose client is in the namespace `/`.
    WebSocket,
    /// The same, by a client of protocol 3.
    Old,
    /// All at once, on a WebSocket that may take over a session which polls.
    Probe,
    /// One by one on one connection, each a request that is answered with this status.
    Requests(u16),
    /// One by one, each on a connection of its own, a request that is answered with this status.
    Connections(u16),
    /// One by one, each the body of a POST to a session whose client is in the namespace `/`, with this query.
    Posts(&'static str),
}

impl Attack {
    /// The attack of this name.
    pub fn find(name: &str) -> Option<Self> {
        all().into_iter().find(|attack| attack.name == name)
    }

    /// How many units have about as many bytes, one at least.
    pub fn units(&self, bytes: usize) -> usize {
        (bytes / self.unit.len()).max(1)
    }

    /// How many times as much as that of an echo a byte may cost. Compression, which is off by default, makes much of
    /// little, whatever is done about it.
    pub fn most(&self) -> f64 {
        if self.profile == Profile::Deflate { 25.0 } else { 10.0 }
    }

    /// The bytes of one unit.
    pub fn unit_len(&self) -> usize {
        self.unit.len()
    }

    /// Sends so many units to a new server, and waits until it has taken them.
    ///
    /// # Panics
    ///
    /// Panics if the server does not answer as it should.
    pub fn run(&self, units: usize) {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let played = runtime.block_on(async { timeout(HANG, play(self, units)).await });
        assert!(played.is_ok(), "it does not come to an end");
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
        assert!(Attack::find("none").is_none());
    }
}
