//! Checks that a broker keeps the rules of `socketio::cluster`, with servers and clients in one process.

mod broadcasts;
mod fleet;
mod limits;
mod membership;
mod recovery;
mod requests;

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::time::timeout;

use self::fleet::Fleets;
use crate::hub::cluster::Broker;

/// The maximum duration of one check.
const CHECK_TIMEOUT: Duration = Duration::from_mins(1);

/// Checks that a broker keeps the rules of the traits in [`cluster`](crate::cluster). Starts clusters of two
/// to four servers with in-memory clients, and uses all features that a broker takes part in: broadcasts and
/// their order, rooms, requests with complete and with partial responses, events between servers, presence,
/// full queues, long messages, and connection state recovery if the broker has an
/// [event log](crate::cluster::Backend::recovery).
///
/// `new_broker` is called for each server, and returns brokers that connect to each other. Nothing else may use the
/// same channels. A broker whose queue can be configured should get a small one, such as 1 MiB, because a check
/// fills it. The function runs for some seconds, in a runtime of one thread, so that the queue can be full. The
/// clock of Tokio may be paused if the broker does not wait for the network.
///
/// # Panics
///
/// Panics after all checks if the broker breaks a rule. The message has each broken rule, the documentation that
/// states it, and what was observed.
///
/// # Examples
///
/// ```
/// use socketio::{MemoryBus, testing::check_broker};
///
/// // In a test: #[tokio::test(start_paused = true)]
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let bus = MemoryBus::new();
/// check_broker(async || bus.clone()).await;
/// # }
/// ```
pub async fn check_broker<B: Broker>(new_broker: impl AsyncFn() -> B) {
    let start = |config, name| fleet::start(&new_broker, config, name).boxed_local();
    let fleets = Fleets { start: &start };
    let mut broken = Vec::new();
    for Rule { text, docs, check } in rules() {
        let checked = AssertUnwindSafe(timeout(CHECK_TIMEOUT, check(&fleets))).catch_unwind().await;
        let observed = match checked {
            Ok(Ok(())) => continue,
            Ok(Err(_)) => format!("not finished within {CHECK_TIMEOUT:?}"),
            Err(panic) => message(&*panic),
        };
        broken.push(format!("{text}\n    documented at: {docs}\n    observed: {observed}"));
    }
    assert!(broken.is_empty(), "the broker breaks {} rules:\n- {}", broken.len(), broken.join("\n- "));
}

/// A rule, the documentation that states it, and its check.
struct Rule {
    text: &'static str,
    docs: &'static str,
    check: for<'a> fn(&'a Fleets<'_>) -> fleet::Check<'a>,
}

fn rules() -> Vec<Rule> {
    macro_rules! rules {
        ($($rule:literal, $docs:literal, $check:path;)*) => {
            vec![$(Rule { text: $rule, docs: $docs, check: |fleets| $check(fleets).boxed_local() }),*]
        };
    }
    rules! {
        "a broadcast reaches the selected sockets of all servers, each once",
            "`cluster::Operation::Broadcast`", broadcasts::selections;
        "values arrive unchanged: text, numbers, binary data, and names of any characters",
            "`cluster::EventPacket`", broadcasts::values;
        "the messages of one server arrive in the order of the calls",
            "`cluster::Backend::publish`", broadcasts::order;
        "sockets that were told to join a room receive an event that the same server emits next",
            "`cluster::Backend::publish`, and guarantee 13 of docs/promises.md", broadcasts::join_then_emit;
        "a room that is left and joined again receives events",
            "`cluster::Backend::room_changed`", broadcasts::rejoin;
        "a message stays in its namespace, also in one that is created and removed",
            "`cluster::Message::namespace`, `cluster::Backend::namespace_created`", broadcasts::namespaces;
        "an event is delivered to the clients of its server without waiting for the broker",
            "`cluster::Broker::connect`", broadcasts::local;
        "`fetch_sockets` returns the sockets of all servers, with rooms, data and handshake",
            "`cluster::Operation::Fetch`, `cluster::Backend::request`", requests::fetch;
        "the sockets of other servers are joined to rooms, removed from them, and disconnected",
            "`cluster::Operation::Join`, `Leave` and `Disconnect`", requests::move_and_disconnect;
        "a broadcast with acknowledgements collects those of all servers",
            "`cluster::Operation::BroadcastWithAck`", requests::acks;
        "a client that does not acknowledge is counted as missing at the timeout, and no server is",
            "`cluster::ReplyBody::Recipients` and `RecipientCount`", requests::partial_acks;
        "an event between servers reaches each other server once, in order, and not its sender",
            "`cluster::Operation::ServerEvent`", requests::server_events;
        "each other server answers an event between servers; one that does not is missing at the timeout",
            "`cluster::ReplyBody::Answer`, `cluster::Backend::request`", requests::server_answers;
        "a request does not wait for servers that do not have the namespace",
            "`cluster::Backend::request`", requests::lonely_namespace;
        "servers that start and leave are counted", "`cluster::Backend::server_count`", membership::count;
        "what was queued before a server leaves is sent", "`cluster::Backend::leave`", membership::flush;
        "a server that has left neither sends nor receives", "`cluster::Backend::leave`", membership::silence;
        "requests do not wait for a server that has left, nor for one that leaves, if the broker names servers",
            "`cluster::Inbound::ServerGone`, `cluster::Inbox::servers_changed`", membership::farewell;
        "a full queue is an error that neither blocks nor lasts, and requests end at once",
            "`cluster::Backend::publish` and `request`", limits::full_queue;
        "a long message is delivered, or counted as dropped, and does not affect the next one",
            "`cluster::ClusterStatus::dropped`", limits::long_messages;
        "a response to a server that does not exist has no effect",
            "`cluster::Backend::reply`", limits::stray_reply;
        "with an event log, a client that returns to another server receives each missed event once, in order",
            "`cluster::RecoveryStore`, `cluster::Backend::recovery`", recovery::recovery;
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    message
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
        .to_owned()
}
