//! The acknowledgements of one broadcast come together here, from this server and from others.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
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
        cluster::{Quorum, RemoteAckRequest, ServerId},
        socket_core::AnySocket,
    },
    proto::args::FromArgs,
};

/// What became of the acknowledgement of one recipient.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(AckArgs),
    Timeout,
    Disconnected,
    Failed(EmitError),
}

impl Outcome {
    pub(crate) fn read<A: FromArgs>(self) -> Result<A, AckError> {
        match self {
            Self::Answer(args) => args.read(),
            Self::Timeout => Err(AckError::Timeout),
            Self::Disconnected => Err(AckError::Disconnected),
            Self::Failed(error) => Err(AckError::Emit(error)),
        }
    }
}

/// Where the outcomes come together. Each recipient gets exactly one; later ones are ignored.
#[derive(Default)]
pub(crate) struct AckCollector(Mutex<State>);

#[derive(Default)]
struct State {
    recipients: Vec<Recipient>,
    /// What has come and was not taken yet, by the place of the recipient.
    arrived: VecDeque<(u32, Outcome)>,
    owing: usize,
    servers: Vec<Server>,
    /// The servers of which it is not known whom they have sent the event to.
    unheard: usize,
    missing: Vec<ServerId>,
    waker: Option<Waker>,
}

struct Recipient {
    id: Sid,
    /// Until its outcome is known.
    owing_at: Option<Location>,
}

enum Location {
    Local(AnySocket),
    Remote,
}

/// Another server that takes part.
struct Server {
    id: ServerId,
    /// Its recipients among all, once they are known.
    recipients: Option<Range<usize>>,
}

impl State {
    fn resolve(&mut self, at: usize, outcome: Outcome) -> Option<Location> {
        let owing_at = self.recipients.get_mut(at)?.owing_at.take()?;
        self.owing -= 1;
        self.arrived.push_back((at as u32, outcome));
        Some(owing_at)
    }

    fn is_done(&self) -> bool {
        self.owing == 0 && self.unheard == 0
    }
}

/// Tells who waits that there is something new. No waker runs under the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl AckCollector {
    /// Adds a recipient; says its place.
    pub(crate) fn expect(&self, socket: &AnySocket) -> u32 {
        let mut state = self.0.lock();
        state.owing += 1;
        state.recipients.push(Recipient { id: socket.id(), owing_at: Some(Location::Local(socket.clone())) });
        (state.recipients.len() - 1) as u32
    }

    /// Notes what became of the acknowledgement of a recipient, unless that is known already.
    pub(crate) fn resolve(&self, at: u32, outcome: Outcome) {
        let mut state = self.0.lock();
        let owing_at = state.resolve(at as usize, outcome);
        wake(state);
        // The data of a socket may be dropped with it, which must not happen under the lock.
        drop(owing_at);
    }

    /// The ids of all recipients, by their places.
    pub(crate) fn recipients(&self) -> Vec<Sid> {
        self.0.lock().recipients.iter().map(|recipient| recipient.id).collect()
    }

    /// The next outcome; `None` when there is one for each recipient and all were taken.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<(Sid, Outcome)>> {
        let mut state = self.0.lock();
        if let Some((at, outcome)) = state.arrived.pop_front() {
            return Poll::Ready(Some((state.recipients[at as usize].id, outcome)));
        }
        poll_end(&mut state, cx).map(|()| None)
    }

    /// All outcomes that have come since, by the places of their recipients.
    pub(crate) fn poll_batch(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<(u32, Outcome)>>> {
        let mut state = self.0.lock();
        if !state.arrived.is_empty() {
            return Poll::Ready(Some(state.arrived.drain(..).collect()));
        }
        poll_end(&mut state, cx).map(|()| None)
    }

    /// Puts an end to waiting, and gives the places back that are still taken under this id.
    pub(crate) fn give_up(&self, id: u64) {
        for socket in self.expire() {
            socket.acks().remove(id);
        }
    }

    /// Says which sockets of this server still owe.
    fn expire(&self) -> Vec<AnySocket> {
        let state = &mut *self.0.lock();
        state.owing = 0;
        state.unheard = 0;
        let unheard = state.servers.extract_if(.., |server| server.recipients.is_none());
        state.missing.extend(unheard.map(|server| server.id));
        let mut late = Vec::new();
        for (at, recipient) in state.recipients.iter_mut().enumerate() {
            if let Some(owing_at) = recipient.owing_at.take() {
                state.arrived.push_back((at as u32, Outcome::Timeout));
                if let Location::Local(socket) = owing_at {
                    late.push(socket);
                }
            }
        }
        late
    }
}

/// What other servers have to say.
impl AckCollector {
    /// Adds servers that will take part.
    pub(crate) fn expect_servers(&self, Quorum { waiting, missed }: Quorum) {
        let mut state = self.0.lock();
        state.unheard += waiting.len();
        state.servers.extend(waiting.into_iter().map(|id| Server { id, recipients: None }));
        state.missing.extend(missed);
    }

    /// A server names those whom it has sent the event to.
    pub(crate) fn server_recipients(&self, from: ServerId, recipients: &[Sid]) {
        let mut state = self.0.lock();
        let start = state.recipients.len();
        let Some(server) = state.servers.iter_mut().find(|server| server.id == from) else { return };
        if server.recipients.is_some() {
            return;
        }
        server.recipients = Some(start..start + recipients.len());
        state.unheard -= 1;
        state.owing += recipients.len();
        state
            .recipients
            .extend(recipients.iter().map(|&id| Recipient { id, owing_at: Some(Location::Remote) }));
        wake(state);
    }

    /// A server tells what became of some of its recipients.
    pub(crate) fn server_outcomes(&self, from: ServerId, outcomes: Vec<(u32, Outcome)>) {
        let mut state = self.0.lock();
        let server = state.servers.iter().find(|server| server.id == from);
        let Some(range) = server.and_then(|server| server.recipients.clone()) else { return };
        for (at, outcome) in outcomes {
            if let Some(at) = range.clone().nth(at as usize) {
                state.resolve(at, outcome);
            }
        }
        wake(state);
    }

    /// Waits no longer for servers that are not among these: their sockets have gone with them.
    pub(crate) fn servers_left(&self, present: &[ServerId]) {
        let mut state = self.0.lock();
        let left: Vec<Server> =
            state.servers.extract_if(.., |server| !present.contains(&server.id)).collect();
        for server in left {
            match server.recipients {
                Some(recipients) => recipients.for_each(|at| {
                    state.resolve(at, Outcome::Disconnected);
                }),
                None => state.unheard -= 1,
            }
        }
        wake(state);
    }

    /// The servers of which it is not known whom they have sent the event to.
    pub(crate) fn missing_servers(&self) -> Vec<ServerId> {
        self.0.lock().missing.clone()
    }

    /// Whether no other server has anything to tell any more.
    pub(crate) fn servers_are_done(&self) -> bool {
        let state = self.0.lock();
        state.servers.is_empty() || state.is_done()
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

/// The places of one broadcast in the tables of its recipients, given back on drop.
pub(crate) struct PendingBroadcast {
    pub(crate) id: u64,
    pub(crate) outcomes: Arc<AckCollector>,
    /// The part of other servers.
    pub(crate) elsewhere: Option<RemoteAckRequest>,
}

impl PendingBroadcast {
    /// All outcomes that have come since the last time; `None` after the last.
    pub(crate) async fn next_batch(&mut self) -> Option<Vec<(u32, Outcome)>> {
        poll_fn(|cx| self.outcomes.poll_batch(cx)).await
    }

    pub(crate) fn expire(&mut self) {
        // While it is still known that servers have something to tell.
        self.elsewhere = None;
        self.outcomes.give_up(self.id);
    }
}

impl Drop for PendingBroadcast {
    fn drop(&mut self) {
        self.expire();
    }
}
