//! Collects the acknowledgements of one broadcast from the sockets of this server and of other servers.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    iter::repeat_n,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use engineio::Sid;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    event::error::{AckError, EmitError},
    hub::{
        acks::AckArgs,
        cluster::{Receivers, RemoteAckRequest, ServerId},
        socket_core::AnySocket,
    },
    proto::args::FromArgs,
};

/// The outcome of the acknowledgement of one recipient.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The client has acknowledged the event.
    Answer(AckArgs),
    /// No acknowledgement was received in time.
    Timeout,
    /// The socket left its namespace before it acknowledged the event.
    Disconnected,
    /// The event was not sent.
    Failed(EmitError),
}

impl Outcome {
    /// Returns the number of bytes of the acknowledgement.
    pub(crate) fn payload_len(&self) -> usize {
        match self {
            Self::Answer(args) => args.payload_len(),
            Self::Timeout | Self::Disconnected | Self::Failed(_) => 0,
        }
    }

    pub(crate) fn read<A: FromArgs>(self) -> Result<A, AckError> {
        match self {
            Self::Answer(args) => args.read(),
            Self::Timeout => Err(AckError::Timeout),
            Self::Disconnected => Err(AckError::Disconnected),
            Self::Failed(error) => Err(AckError::Emit(error)),
        }
    }
}

/// Collects the outcomes of a broadcast. Exactly one outcome is recorded per recipient; later outcomes are
/// ignored.
#[derive(Default)]
pub(crate) struct AckCollector(Mutex<State>);

#[derive(Default)]
struct State {
    recipients: Vec<Recipient>,
    /// The outcomes that have not been polled, with the indices of their recipients. The index is `None` for
    /// a recipient that the broker does not name.
    ready: VecDeque<(Option<u32>, Outcome)>,
    pending: usize,
    servers: Vec<Server>,
    /// The number of servers that have not reported their recipients.
    unreported: usize,
    /// `Some` if the broker counts servers and recipients and does not name them.
    counted: Option<Counted>,
    missing: Vec<ServerId>,
    waker: Option<Waker>,
}

struct Recipient {
    id: Sid,
    /// Specifies where the socket is. `None` after the outcome was recorded.
    location: Option<Location>,
}

enum Location {
    Local(AnySocket),
    Remote,
}

/// Another server that the broadcast was sent to.
struct Server {
    id: ServerId,
    recipients: ServerRecipients,
}

/// The recipients of another server.
enum ServerRecipients {
    /// Not reported. The broker may deliver acknowledgements before the report; this is their number.
    Unreported(usize),
    /// The range of the recipients in `State::recipients`.
    Named(Range<usize>),
    /// The number of recipients without outcome. The broker does not name them.
    Counted(usize),
}

impl ServerRecipients {
    fn is_unreported(&self) -> bool {
        matches!(self, Self::Unreported(_))
    }

    /// Returns the number of unnamed recipients without outcome.
    fn unnamed(&self) -> usize {
        match self {
            Self::Counted(pending) => *pending,
            Self::Unreported(_) | Self::Named(_) => 0,
        }
    }
}

/// The reports of servers whose recipients are not named.
#[derive(Default)]
struct Counted {
    /// The number of servers that received the broadcast. `None` until the backend has reported the number.
    receivers: Option<usize>,
    /// The number of servers that have reported the number of their recipients.
    reports: usize,
    /// The servers among them that are known by their ids.
    reported: Vec<ServerId>,
    /// The number of recipients without outcome.
    pending: usize,
    /// The number of acknowledgements that have arrived before the reports of their servers. Servers of Node.js send
    /// each message to another node of a Redis Cluster, so the order is lost.
    early: usize,
}

impl Counted {
    /// Records a report.
    fn add(&mut self, count: usize) {
        let early = self.early.min(count);
        self.early -= early;
        self.reports += 1;
        self.pending = self.pending.saturating_add(count - early);
    }

    /// Takes an acknowledgement. Returns `false` if all recipients have an outcome.
    fn take(&mut self) -> bool {
        match self.pending.checked_sub(1) {
            Some(pending) => self.pending = pending,
            None if self.receivers.is_none_or(|receivers| self.reports < receivers) => self.early += 1,
            None => return false,
        }
        true
    }

    fn is_done(&self) -> bool {
        self.pending == 0 && self.receivers.is_some_and(|receivers| self.reports >= receivers)
    }
}

impl State {
    fn resolve(&mut self, at: usize, outcome: Outcome) -> Option<Location> {
        let location = self.recipients.get_mut(at)?.location.take()?;
        self.pending -= 1;
        self.ready.push_back((Some(at as u32), outcome));
        Some(location)
    }

    fn is_done(&self) -> bool {
        self.pending == 0
            && self.unreported == 0
            && self.counted.as_ref().is_none_or(Counted::is_done)
            && self.servers.iter().all(|server| server.recipients.unnamed() == 0)
    }

    /// Resolves the recipients of a server that is gone.
    fn disconnect(&mut self, recipients: ServerRecipients) {
        match recipients {
            ServerRecipients::Unreported(_) => self.unreported -= 1,
            ServerRecipients::Named(range) => range.for_each(|at| {
                self.resolve(at, Outcome::Disconnected);
            }),
            ServerRecipients::Counted(pending) => {
                self.ready.extend((0..pending).map(|_| (None, Outcome::Disconnected)));
            }
        }
    }
}

/// Wakes the task that polls the outcomes. The lock is unlocked before the waker is called.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl AckCollector {
    /// Adds a recipient and returns its index.
    pub(crate) fn add_recipient(&self, socket: &AnySocket) -> u32 {
        let mut state = self.0.lock();
        state.pending += 1;
        state.recipients.push(Recipient { id: socket.id(), location: Some(Location::Local(socket.clone())) });
        (state.recipients.len() - 1) as u32
    }

    /// Records the outcome of a recipient. Ignored if the recipient already has an outcome.
    pub(crate) fn resolve(&self, at: u32, outcome: Outcome) {
        let mut state = self.0.lock();
        let location = state.resolve(at as usize, outcome);
        wake(state);
        // This may drop the data of a socket, which must not happen under the lock.
        drop(location);
    }

    /// Returns the ids of all recipients, by index.
    pub(crate) fn recipients(&self) -> Vec<Sid> {
        self.0.lock().recipients.iter().map(|recipient| recipient.id).collect()
    }

    /// Polls for the next outcome. Returns `None` after the outcomes of all recipients were returned.
    /// The id is `None` if the broker does not name the recipient.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<(Option<Sid>, Outcome)>> {
        let mut state = self.0.lock();
        if let Some((at, outcome)) = state.ready.pop_front() {
            let id = at.and_then(|at| state.recipients.get(at as usize)).map(|recipient| recipient.id);
            return Poll::Ready(Some((id, outcome)));
        }
        poll_end(&mut state, cx).map(|()| None)
    }

    /// Polls for outcomes and returns all of named recipients that are ready, with the indices of the
    /// recipients. Returns `None` after the outcomes of all recipients were returned.
    pub(crate) fn poll_batch(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<(u32, Outcome)>>> {
        let mut state = self.0.lock();
        if !state.ready.is_empty() {
            let named = state.ready.drain(..).filter_map(|(at, outcome)| Some((at?, outcome)));
            return Poll::Ready(Some(named.collect()));
        }
        poll_end(&mut state, cx).map(|()| None)
    }

    /// Stops waiting, and removes the acknowledgements that are still pending under this id from the sockets.
    pub(crate) fn cancel(&self, id: u64) {
        for socket in self.expire() {
            socket.acks().remove(id);
        }
    }

    /// Resolves all pending recipients as timed out. Returns the sockets of this server that were pending.
    fn expire(&self) -> Vec<AnySocket> {
        let state = &mut *self.0.lock();
        state.pending = 0;
        state.unreported = 0;
        for server in std::mem::take(&mut state.servers) {
            if server.recipients.is_unreported() {
                state.missing.push(server.id);
            } else {
                let unnamed = server.recipients.unnamed();
                state.ready.extend((0..unnamed).map(|_| (None, Outcome::Timeout)));
            }
        }
        if let Some(counted) = state.counted.take() {
            // If the number of receivers is unknown, at least one server was not reached.
            let receivers = counted.receivers.unwrap_or(counted.reports + 1);
            let missing = receivers.saturating_sub(counted.reports);
            state.missing.extend(repeat_n(ServerId::unknown(), missing));
            state.ready.extend((0..counted.pending).map(|_| (None, Outcome::Timeout)));
        }
        let mut late = Vec::new();
        for (at, recipient) in state.recipients.iter_mut().enumerate() {
            if let Some(location) = recipient.location.take() {
                state.ready.push_back((Some(at as u32), Outcome::Timeout));
                if let Location::Local(socket) = location {
                    late.push(socket);
                }
            }
        }
        late
    }
}

/// Methods that handle the reports of other servers.
impl AckCollector {
    /// Adds the servers that the broadcast was sent to.
    pub(crate) fn expect_servers(&self, receivers: Receivers) {
        let mut state = self.0.lock();
        let Receivers::Known { waiting, unreachable } = receivers else {
            state.counted = Some(Counted::default());
            return;
        };
        state.unreported += waiting.len();
        state
            .servers
            .extend(waiting.into_iter().map(|id| Server { id, recipients: ServerRecipients::Unreported(0) }));
        state.missing.extend(unreachable);
    }

    /// Records the recipients that a server has sent the event to.
    pub(crate) fn server_recipients(&self, from: &ServerId, recipients: &[Sid]) {
        let mut state = self.0.lock();
        let start = state.recipients.len();
        let Some(server) = state.servers.iter_mut().find(|server| server.id == *from) else { return };
        if !server.recipients.is_unreported() {
            return;
        }
        server.recipients = ServerRecipients::Named(start..start + recipients.len());
        state.unreported -= 1;
        state.pending += recipients.len();
        state
            .recipients
            .extend(recipients.iter().map(|&id| Recipient { id, location: Some(Location::Remote) }));
        wake(state);
    }

    /// Records the outcomes of recipients of another server. The indices are relative to the recipients of
    /// that server.
    pub(crate) fn server_outcomes(&self, from: &ServerId, outcomes: Vec<(u32, Outcome)>) {
        let mut state = self.0.lock();
        let server = state.servers.iter().find(|server| server.id == *from);
        let Some(ServerRecipients::Named(range)) = server.map(|server| &server.recipients) else { return };
        let range = range.clone();
        for (at, outcome) in outcomes {
            if let Some(at) = range.clone().nth(at as usize) {
                state.resolve(at, outcome);
            }
        }
        wake(state);
    }

    /// Records the number of servers that received the broadcast. `None` means that the broadcast could not be
    /// sent, so no further report is expected.
    pub(crate) fn receiver_count(&self, count: Option<usize>) {
        let mut state = self.0.lock();
        match (&mut state.counted, count) {
            (Some(counted), Some(_)) => counted.receivers = count,
            (Some(_), None) => {
                state.counted = None;
                state.missing.push(ServerId::unknown());
            }
            (None, Some(_)) => {}
            (None, None) => {
                let unreported = state.servers.extract_if(.., |server| server.recipients.is_unreported());
                let unreported: Vec<_> = unreported.map(|server| server.id).collect();
                state.missing.extend(unreported);
                state.unreported = 0;
            }
        }
        wake(state);
    }

    /// Records the number of recipients of a server.
    pub(crate) fn recipient_count(&self, from: &ServerId, count: usize) {
        let mut state = self.0.lock();
        let Some(counted) = &mut state.counted else {
            let server = state.servers.iter_mut().find(|server| server.id == *from);
            if let Some(Server { recipients, .. }) = server
                && let ServerRecipients::Unreported(acks) = *recipients
            {
                *recipients = ServerRecipients::Counted(count.saturating_sub(acks));
                state.unreported -= 1;
                wake(state);
            }
            return;
        };
        if !from.is_unknown() {
            if counted.reported.contains(from) {
                return;
            }
            counted.reported.push(from.clone());
        }
        counted.add(count);
        wake(state);
    }

    /// Records the acknowledgement of a recipient that is not named. Ignored if all recipients have an
    /// outcome.
    pub(crate) fn anonymous_ack(&self, from: &ServerId, args: AckArgs) {
        let mut state = self.0.lock();
        if let Some(counted) = &mut state.counted {
            if !counted.take() {
                return;
            }
        } else {
            let Some(server) = state.servers.iter_mut().find(|server| server.id == *from) else { return };
            match &mut server.recipients {
                ServerRecipients::Unreported(acks) => *acks += 1,
                ServerRecipients::Counted(pending) if *pending > 0 => *pending -= 1,
                ServerRecipients::Counted(_) | ServerRecipients::Named(_) => return,
            }
        }
        state.ready.push_back((None, Outcome::Answer(args)));
        wake(state);
    }

    /// Stops waiting for servers that are not in `present`. The pending recipients on those servers are
    /// resolved as disconnected.
    pub(crate) fn retain_servers(&self, present: &[ServerId]) {
        let mut state = self.0.lock();
        let left: Vec<Server> =
            state.servers.extract_if(.., |server| !present.contains(&server.id)).collect();
        for server in left {
            state.disconnect(server.recipients);
        }
        wake(state);
    }

    /// Stops waiting for a server. Its pending recipients are resolved as disconnected. If the server is lost
    /// and has not reported its recipients, it is missing.
    pub(crate) fn server_gone(&self, id: &ServerId, is_lost: bool) {
        let mut state = self.0.lock();
        let Some(at) = state.servers.iter().position(|server| server.id == *id) else { return };
        let server = state.servers.swap_remove(at);
        if is_lost && server.recipients.is_unreported() {
            state.missing.push(server.id);
        }
        state.disconnect(server.recipients);
        wake(state);
    }

    /// Returns the servers that could not be reached or did not report their recipients in time.
    pub(crate) fn missing_servers(&self) -> Vec<ServerId> {
        self.0.lock().missing.clone()
    }

    /// Returns `true` if no further report from another server is needed.
    pub(crate) fn is_remote_done(&self) -> bool {
        let state = self.0.lock();
        (state.servers.is_empty() && state.counted.is_none()) || state.is_done()
    }
}

fn poll_end(state: &mut State, cx: &mut Context<'_>) -> Poll<()> {
    if state.is_done() {
        return Poll::Ready(());
    }
    state.waker = Some(cx.waker().clone());
    Poll::Pending
}

impl fmt::Debug for AckCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckCollector").finish_non_exhaustive()
    }
}

/// The pending acknowledgements of one broadcast. On drop, they are removed from the sockets.
pub(crate) struct PendingBroadcast {
    pub(crate) id: u64,
    pub(crate) outcomes: Arc<AckCollector>,
    /// The request to the other servers. `None` if the broadcast is local or there is no cluster.
    pub(crate) remote: Option<RemoteAckRequest>,
}

impl PendingBroadcast {
    /// Waits for outcomes and returns all that are ready, or `None` after the last outcome.
    pub(crate) async fn next_batch(&mut self) -> Option<Vec<(u32, Outcome)>> {
        poll_fn(|cx| self.outcomes.poll_batch(cx)).await
    }

    pub(crate) fn expire(&mut self) {
        // Drop the request first, because its `Drop` checks whether other servers still have outcomes to
        // report.
        self.remote = None;
        self.outcomes.cancel(self.id);
    }
}

impl Drop for PendingBroadcast {
    fn drop(&mut self) {
        self.expire();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_may_overtake_the_report() {
        let collector = AckCollector::default();
        collector.expect_servers(Receivers::Counted);
        collector.receiver_count(Some(2));
        let from = ServerId::unknown();
        let ack = || collector.anonymous_ack(&from, AckArgs::new("[1]", vec![]));
        ack();
        collector.recipient_count(&from, 2);
        assert!(!collector.is_remote_done());
        ack();
        collector.recipient_count(&from, 0);
        assert!(collector.is_remote_done());
        ack();
        assert_eq!(collector.0.lock().ready.len(), 2, "the third one is of no recipient");
    }
}
