//! Two servers over Redis, of which one is run under valgrind.
//!
//! The servers are programs that behave as those of the benchmark (`bench/README.md`), so others can be counted
//! as well.

mod client;
mod process;

use std::{net::Ipv4Addr, thread, time::Duration};

use self::{
    client::Client,
    process::{Counted, Running, free_port},
};
use crate::valgrind::Failure;

/// What is counted per event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The server that publishes events to clients of the other one.
    Publish,
    /// The server that has no client in the room of the events.
    Ignore,
    /// The server that delivers each event to one client.
    Deliver,
}

/// All roles, with their names.
pub const ROLES: [(&str, Role); 3] =
    [("publish", Role::Publish), ("ignore", Role::Ignore), ("deliver", Role::Deliver)];

/// The events of the shorter and of the longer run. The difference excludes the start of the server.
const EVENTS: [u32; 2] = [200, 800];
/// The time between two events, in which the servers do all that follows from an event.
const PAUSE: Duration = Duration::from_millis(8);
/// The argument of the events, 100 bytes as in the benchmark.
const VALUE: &str =
    r#"{"from":"anna","read":false,"text":"Shall we meet at the station, or do you come","time":1789456123}"#;

/// Counts the instructions of one event.
///
/// # Errors
///
/// Returns an error if valgrind or Redis is missing, or if a server does not respond as expected.
///
/// # Panics
///
/// Panics if a thread cannot be started.
pub fn per_event(command: &[String], adapter: &str, role: Role) -> Result<u64, Failure> {
    let [least, most] = EVENTS;
    let (few, many) = thread::scope(|scope| {
        let few = scope.spawn(|| run(command, adapter, role, least));
        let many = run(command, adapter, role, most);
        (few.join(), many)
    });
    let few = few.map_err(|_| "the count of few events panicked")??;
    let added = many?.checked_sub(few).ok_or("more events took fewer instructions")?;
    Ok((added + u64::from(most - least) / 2) / u64::from(most - least))
}

/// Counts the instructions of a run.
fn run(command: &[String], adapter: &str, role: Role, events: u32) -> Result<u64, Failure> {
    let redis_port = free_port()?;
    let redis = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--port", &redis_port.to_string()];
    let _redis = Running::start(&redis.map(str::to_owned), &[], redis_port)?;
    let server = |is_counted: bool| -> Result<(Running, u16), Failure> {
        let port = free_port()?;
        let url = format!("redis://127.0.0.1:{redis_port}");
        // With more threads, the number of wake-ups varies.
        let environment = [
            ("PORT", &*port.to_string()),
            ("BROKER_URL", &url),
            ("ADAPTER", adapter),
            ("TOKIO_WORKER_THREADS", "1"),
        ];
        let counted = if is_counted { Counted::command(command) } else { command.to_vec() };
        Ok((Running::start(&counted, &environment, port)?, port))
    };
    let (publisher, publisher_port) = server(role == Role::Publish)?;
    let (other, other_port) = server(role != Role::Publish)?;
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, publisher_port).into())?;
    let mut recipient = Client::connect((Ipv4Addr::LOCALHOST, other_port).into())?;
    if role != Role::Ignore {
        recipient.ask(r#"421["join","there"]"#, "431")?;
    }
    // The servers find each other.
    thread::sleep(Duration::from_secs(2));
    for _ in 0..events {
        client.send(&format!(r#"42["publish-to","there",{VALUE}]"#))?;
        if role != Role::Ignore {
            recipient.take(&format!(r#"42["news",{VALUE}]"#))?;
        }
        thread::sleep(PAUSE);
    }
    let counted = if role == Role::Publish { publisher } else { other };
    Counted::finish(counted)
}
