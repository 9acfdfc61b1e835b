//! The connection to the other servers of the cluster: operations and requests.

pub(crate) mod memory;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engineio::Sid;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    event::error::{EmitError, JoinError},
    hub::{
        ack_collector::{AckCollector, Outcome},
        acks::AckArgs,
        rooms::{Room, Target},
        summary::Summary,
    },
    proto::encode::Frames,
};

/// The id of a server in a cluster, unique for its lifetime.
///
/// # Examples
///
/// ```
/// use socketio::FetchError;
///
/// fn complain(error: &FetchError) {
///     for server in &error.missing {
///         println!("{server} did not answer");
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerId(Sid);

impl ServerId {
    pub(crate) fn random() -> Self {
        Self(Sid::random())
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

/// A message to all other servers.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) from: ServerId,
    pub(crate) namespace: Box<str>,
    pub(crate) op: Op,
}

/// An operation for all servers. Packets are in the encoding of the protocol, whatever the parser of each
/// server.
#[derive(Debug)]
pub(crate) enum Op {
    Broadcast {
        target: Target,
        packet: Frames,
        volatile: bool,
        uncompressed: bool,
    },
    /// A broadcast with acknowledgements. Each server assigns its own acknowledgement id.
    BroadcastWithAck {
        request: u64,
        target: Target,
        packet: Frames,
        volatile: bool,
        uncompressed: bool,
    },
    /// The acknowledgements of this request are no longer needed.
    CancelAcks {
        request: u64,
    },
    Join {
        target: Target,
        rooms: Vec<Room>,
    },
    Leave {
        target: Target,
        rooms: Vec<Room>,
    },
    Disconnect {
        target: Target,
        close: bool,
    },
    Fetch {
        request: u64,
        target: Target,
    },
    ServerEvent {
        request: Option<u64>,
        packet: Frames,
    },
}

/// A response to the requesting server.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) from: ServerId,
    pub(crate) request: u64,
    pub(crate) body: ReplyBody,
}

#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// First response to [`Op::BroadcastWithAck`]: the recipients of the event.
    Recipients(Vec<Sid>),
    /// Further responses to [`Op::BroadcastWithAck`]: outcomes by recipient index.
    Outcomes(Vec<(u32, Outcome)>),
    /// Response to [`Op::Fetch`].
    Sockets(Vec<Summary>),
    /// Response to [`Op::ServerEvent`]; `None` if there is no handler, or if it sends no acknowledgement.
    Answer(Option<AckArgs>),
}

/// Input from other servers. The order of each sender is preserved.
#[derive(Debug)]
pub(crate) enum Inbound {
    Message(Arc<Message>),
    Reply(Reply),
}

/// The receiving end of this server.
pub(crate) struct Inbox {
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    /// All present servers. Updated before the first message of a server that joins; the update for a server
    /// that leaves may be read after its last message.
    pub(crate) servers: watch::Receiver<Vec<ServerId>>,
}

/// The queue to another server is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterFull;

impl From<ClusterFull> for EmitError {
    fn from(_: ClusterFull) -> Self {
        Self::ClusterFull
    }
}

impl From<ClusterFull> for JoinError {
    fn from(_: ClusterFull) -> Self {
        Self::ClusterFull
    }
}

/// The servers that a request was sent to.
pub(crate) struct RequestTargets {
    /// Servers that will respond or leave.
    pub(crate) waiting: Vec<ServerId>,
    /// Servers that did not get the request because their queue is full.
    pub(crate) unreachable: Vec<ServerId>,
}

/// A transport to other servers. No method blocks or waits; all queues are bounded.
pub(crate) trait Backend: Send + Sync {
    /// Queues a message for all other servers, in order.
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull>;

    /// As `publish`; atomically returns which servers got the message.
    fn request(&self, message: Arc<Message>) -> RequestTargets;

    /// Queues a response for the requesting server.
    fn reply(&self, to: ServerId, reply: Reply) -> Result<(), ClusterFull>;

    /// Returns all present servers, including this one; empty after it has left.
    fn servers(&self) -> Vec<ServerId>;

    /// Removes this server from the cluster. Afterwards no message is received or sent.
    fn leave(&self);
}

/// The membership of this server in its cluster, and its pending requests.
pub(crate) struct Cluster {
    pub(crate) id: ServerId,
    backend: Box<dyn Backend>,
    /// The timeout of requests.
    timeout: Duration,
    requests: Mutex<HashMap<u64, Request>>,
    next: AtomicU64,
}

enum Request {
    Ask(Arc<AckCollector>),
    Gather { waiting: Vec<ServerId>, answers: Vec<(ServerId, ReplyBody)>, done: Arc<Notify> },
}

/// The responses received in time, and the servers without one.
pub(crate) struct Responses {
    pub(crate) answers: Vec<(ServerId, ReplyBody)>,
    pub(crate) missing: Vec<ServerId>,
}

impl Cluster {
    pub(crate) fn new(id: ServerId, backend: Box<dyn Backend>, timeout: Duration) -> Self {
        Self { id, backend, timeout, requests: Mutex::default(), next: AtomicU64::new(0) }
    }

    pub(crate) fn publish(&self, namespace: &str, op: Op) -> Result<(), ClusterFull> {
        self.backend.publish(self.message(namespace, op))
    }

    pub(crate) fn reply(&self, to: ServerId, request: u64, body: ReplyBody) {
        if self.backend.reply(to, Reply { from: self.id, request, body }).is_err() {
            engineio::__log!(warn, server = %to, "an answer is lost: the queue to the server is full");
        }
    }

    pub(crate) fn servers(&self) -> Vec<ServerId> {
        self.backend.servers()
    }

    pub(crate) fn leave(&self) {
        self.backend.leave();
        self.servers_changed();
    }

    /// Requests the other servers to take part in a broadcast with acknowledgements.
    pub(crate) fn ask(
        self: &Arc<Self>,
        namespace: &str,
        outcomes: &Arc<AckCollector>,
        op: impl FnOnce(u64) -> Op,
    ) -> RemoteAckRequest {
        let request = self.next_request();
        let message = self.message(namespace, op(request));
        // Held until the request is registered, so that no response is handled before.
        let mut requests = self.requests.lock();
        outcomes.expect_servers(self.backend.request(message));
        requests.insert(request, Request::Ask(outcomes.clone()));
        RemoteAckRequest { cluster: self.clone(), request, namespace: namespace.into() }
    }

    /// Sends a request to all other servers, and waits for their responses or for the timeout.
    ///
    /// A server that leaves is neither waited for nor missing: it has no sockets any more.
    pub(crate) async fn gather(&self, namespace: &str, op: impl FnOnce(u64) -> Op) -> Responses {
        let request = self.next_request();
        let message = self.message(namespace, op(request));
        let done = Arc::new(Notify::new());
        let mut missing = {
            let mut requests = self.requests.lock();
            let RequestTargets { waiting, unreachable } = self.backend.request(message);
            if waiting.is_empty() {
                return Responses { answers: Vec::new(), missing: unreachable };
            }
            requests.insert(request, Request::Gather { waiting, answers: Vec::new(), done: done.clone() });
            unreachable
        };
        let pending = Pending { cluster: self, request };
        // Returns on completion or timeout, with the answers received so far.
        let _ = tokio::time::timeout(self.timeout, done.notified()).await;
        let Some(Request::Gather { waiting, answers, .. }) = pending.take() else {
            return Responses { answers: Vec::new(), missing };
        };
        missing.extend(waiting);
        Responses { answers, missing }
    }

    /// Handles a response of another server. It is ignored if the request is no longer pending.
    pub(crate) fn answered(&self, Reply { from, request, body }: Reply) {
        let mut requests = self.requests.lock();
        match (requests.get_mut(&request), body) {
            (Some(Request::Ask(outcomes)), body) => {
                let outcomes = outcomes.clone();
                drop(requests);
                match body {
                    ReplyBody::Recipients(recipients) => outcomes.server_recipients(from, &recipients),
                    ReplyBody::Outcomes(arrived) => outcomes.server_outcomes(from, arrived),
                    ReplyBody::Sockets(_) | ReplyBody::Answer(_) => {}
                }
            }
            (Some(Request::Gather { waiting, answers, done }), body) => {
                if let Some(at) = waiting.iter().position(|&server| server == from) {
                    waiting.swap_remove(at);
                    answers.push((from, body));
                    if waiting.is_empty() {
                        done.notify_one();
                    }
                }
            }
            (None, _) => {}
        }
    }

    /// Stops waiting for servers that have left.
    pub(crate) fn servers_changed(&self) {
        let mut collectors = Vec::new();
        let mut requests = self.requests.lock();
        // Read under the lock: a pending request was sent before any server that joins later.
        let present = self.backend.servers();
        for request in requests.values_mut() {
            match request {
                Request::Ask(outcomes) => collectors.push(outcomes.clone()),
                Request::Gather { waiting, done, .. } => {
                    waiting.retain(|server| present.contains(server));
                    if waiting.is_empty() {
                        done.notify_one();
                    }
                }
            }
        }
        drop(requests);
        for outcomes in collectors {
            outcomes.retain_servers(&present);
        }
    }

    fn next_request(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn message(&self, namespace: &str, op: Op) -> Arc<Message> {
        Arc::new(Message { from: self.id, namespace: namespace.into(), op })
    }
}

/// An entry in the table of requests, removed on drop.
struct Pending<'a> {
    cluster: &'a Cluster,
    request: u64,
}

impl Pending<'_> {
    fn take(&self) -> Option<Request> {
        self.cluster.requests.lock().remove(&self.request)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.take();
    }
}

/// A broadcast whose acknowledgements other servers collect too. On drop, they are told to stop.
pub(crate) struct RemoteAckRequest {
    cluster: Arc<Cluster>,
    request: u64,
    namespace: Box<str>,
}

impl Drop for RemoteAckRequest {
    fn drop(&mut self) {
        let request = self.cluster.requests.lock().remove(&self.request);
        if let Some(Request::Ask(outcomes)) = request
            && !outcomes.is_remote_done()
            && self.cluster.publish(&self.namespace, Op::CancelAcks { request: self.request }).is_err()
        {
            engineio::__log!(warn, "a server still gathers acknowledgements: the queue to it is full");
        }
    }
}
