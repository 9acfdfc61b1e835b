//! Records of what both sides of a session observed, and the invariants that must hold.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use socketio::{AckError, CloseReason, DisconnectReason};
use tokio::time::Instant;

use super::scenario::{Farewell, Kind, Plan, of_kind};

pub(crate) type Record = Arc<Mutex<History>>;

/// The heartbeat of the default configuration. `GRACE` is the time that handlers may delay the disconnect
/// hook.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(25 + 20);
const GRACE: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_secs(1);

/// The numbers of the received events, in order of arrival.
pub(crate) type Arrived = Vec<u32>;

#[derive(Default)]
pub(crate) struct History {
    /// Events received by the server. The fields below are the events received by the client.
    pub(crate) up: Arrived,
    pub(crate) down: Arrived,
    pub(crate) volatile: Arrived,
    pub(crate) broadcasts: Arrived,
    /// The number of the first broadcast after the client joined the room.
    pub(crate) first_broadcast: Option<u32>,
    /// `true` once the client has joined the namespace.
    pub(crate) joined: bool,
    /// `true` once the server has emitted its whole script.
    pub(crate) all_emitted: bool,
    /// The events for which the server requested an acknowledgement. `answers` holds the results.
    pub(crate) asked: Arrived,
    pub(crate) answers: Vec<(u32, Result<u32, AckError>, Instant)>,
    /// The number of acknowledgements that the client is waiting for.
    pub(crate) owed: usize,
    pub(crate) connected: usize,
    pub(crate) disconnected: Vec<(DisconnectReason, Instant)>,
    /// The time at which the last byte of the client reached the server.
    pub(crate) heard: Option<Instant>,
    /// The reason for which the client ended its session.
    pub(crate) ended: &'static str,
    /// Violations that were detected during the run.
    pub(crate) wrong: Vec<String>,
}

impl History {
    /// Returns `true` if everything sent on a session that must survive has arrived. `broadcasts` is the
    /// number of broadcasts sent so far.
    pub(crate) fn is_complete(&self, plan: &Plan, broadcasts: u32) -> bool {
        let expected = |script, kind| of_kind(script, kind).count();
        self.joined
            && self.all_emitted
            && self.up.len() == expected(&plan.up, Kind::Event)
            && self.down.len() == expected(&plan.down, Kind::Event)
            && self
                .first_broadcast
                .is_some_and(|first| first as usize + self.broadcasts.len() == broadcasts as usize)
            && self.answers.len() == self.asked.len()
            && self.owed == 0
    }

    /// Returns the violations found at the end of the run.
    pub(crate) fn violations(&self, plan: &Plan) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        let mut demand = |holds: bool, what: &dyn Fn() -> String| {
            if !holds {
                wrong.push(what());
            }
        };
        let ascends_from =
            |numbers: &Arrived, first: u32| numbers.iter().copied().eq((first..).take(numbers.len()));
        demand(ascends_from(&self.up, 0), &|| format!("events of the client arrived as {:?}", self.up));
        demand(ascends_from(&self.down, 0), &|| format!("events of the server arrived as {:?}", self.down));
        demand(self.volatile.is_sorted_by(|a, b| a < b), &|| {
            format!("volatile events arrived as {:?}", self.volatile)
        });
        let first = self.first_broadcast.unwrap_or_default();
        demand(ascends_from(&self.broadcasts, first), &|| {
            format!("broadcasts from {first} on arrived as {:?}", self.broadcasts)
        });

        demand(self.disconnected.len() == self.connected, &|| {
            format!("{} connects, disconnected {:?}", self.connected, self.disconnected)
        });
        let end = self.disconnected.first();
        if let (Some((reason, at)), Some(heard)) = (end, self.heard) {
            let silence = at.duration_since(heard);
            demand(silence <= HEARTBEAT + GRACE + SLACK, &|| {
                format!("ended ({reason}) {silence:?} after the last byte")
            });
            demand(!plan.must_live || fits(plan.farewell, *reason), &|| {
                format!("after {:?} the reason is: {reason}", plan.farewell)
            });
        }

        let mut answered: Vec<u32> = self.answers.iter().map(|(n, ..)| *n).collect();
        answered.sort_unstable();
        demand(answered == self.asked, &|| format!("asked for {:?}, answers for {answered:?}", self.asked));
        for (n, answer, at) in &self.answers {
            demand(end.is_none_or(|(_, end)| at <= end), &|| {
                format!("ack {n} is resolved after the end: {answer:?}")
            });
            let right = match answer {
                Ok(value) => value == n,
                Err(AckError::Timeout) => true,
                Err(AckError::Disconnected | AckError::Emit(_)) => !plan.must_live,
                Err(_) => false,
            };
            demand(right, &|| format!("ack {n} is {answer:?}"));
        }
        wrong
    }
}

/// Returns `true` if a session may end with this reason after the farewell, on a network that delivers it.
fn fits(farewell: Farewell, reason: DisconnectReason) -> bool {
    use DisconnectReason::{ClientNamespaceDisconnect, Closed, ServerNamespaceDisconnect};
    match farewell {
        Farewell::Disconnect => reason == ClientNamespaceDisconnect,
        Farewell::Close => reason == Closed(CloseReason::TransportClose),
        Farewell::Vanish => matches!(
            reason,
            Closed(CloseReason::TransportClose | CloseReason::TransportError | CloseReason::PingTimeout)
        ),
        Farewell::ServerDisconnects | Farewell::ServerCloses => reason == ServerNamespaceDisconnect,
    }
}
