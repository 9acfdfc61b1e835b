//! Sends operations and requests to the other servers of the cluster.

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

/// The id of a server in a cluster. Each server gets a new random id when it joins the cluster.
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

/// An operation that all servers execute. Packets are in the encoding of the protocol, regardless of the
/// parser of each server.
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
    /// The requesting server no longer needs the acknowledgements of this request.
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
    /// The first response to [`Op::BroadcastWithAck`], which contains the recipients of the event.
    Recipients(Vec<Sid>),
    /// A further response to [`Op::BroadcastWithAck`], which contains outcomes and the indices of their
    /// recipients.
    Outcomes(Vec<(u32, Outcome)>),
    /// The response to [`Op::Fetch`].
    Sockets(Vec<Summary>),
    /// The response to [`Op::ServerEvent`]. `None` if no handler was started, or if the handler sends no
    /// acknowledgement.
    Answer(Option<AckArgs>),
}

/// Input from other servers. The messages of each sender are received in the order in which they were sent.
#[derive(Debug)]
pub(crate) enum Inbound {
    Message(Arc<Message>),
    Reply(Reply),
}

/// Receives the messages of other servers and the changes of the server list.
pub(crate) struct Inbox {
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    /// The ids of all present servers. When a server joins, the list is updated before its first message is
    /// queued. When a server leaves, the update may be received before its last messages are read.
    pub(crate) servers: watch::Receiver<Vec<ServerId>>,
}

/// The error that the queue to another server is full.
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

/// The other servers at the time of a request.
pub(crate) struct RequestTargets {
    /// The servers that received the request. Each of them responds or leaves.
    pub(crate) waiting: Vec<ServerId>,
    /// The servers that did not receive the request because their queues are full.
    pub(crate) unreachable: Vec<ServerId>,
}

/// A transport to the other servers. No method blocks or waits; all queues are bounded.
pub(crate) trait Backend: Send + Sync {
    /// Queues a message for all other servers. Messages are received in the order of the calls.
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull>;

    /// Like `publish`, but returns which servers received the message. The set of servers does not change
    /// during the call.
    fn request(&self, message: Arc<Message>) -> RequestTargets;

    /// Queues a response for the requesting server.
    fn reply(&self, to: ServerId, reply: Reply) -> Result<(), ClusterFull>;

    /// Returns the ids of all present servers, including this server. Returns an empty list after this server
    /// has left.
    fn servers(&self) -> Vec<ServerId>;

    /// Removes this server from the cluster. After the call, no message is sent or received.
    fn leave(&self);
}

/// The membership of this server in its cluster, and its pending requests.
pub(crate) struct Cluster {
    pub(crate) id: ServerId,
    backend: Box<dyn Backend>,
    /// The timeout of each request.
    timeout: Duration,
    requests: Mutex<HashMap<u64, Request>>,
    next: AtomicU64,
}

enum Request {
    Ask(Arc<AckCollector>),
    Gather { waiting: Vec<ServerId>, answers: Vec<(ServerId, ReplyBody)>, done: Arc<Notify> },
}

/// The responses that were received in time, and the servers that did not respond in time.
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
            engineio::__log!(warn, server = %to, "a response is lost: the queue to the server is full");
        }
    }

    pub(crate) fn servers(&self) -> Vec<ServerId> {
        self.backend.servers()
    }

    pub(crate) fn leave(&self) {
        self.backend.leave();
        self.servers_changed();
    }

    /// Requests the other servers to deliver a broadcast and to collect its acknowledgements.
    pub(crate) fn ask(
        self: &Arc<Self>,
        namespace: &str,
        outcomes: &Arc<AckCollector>,
        op: impl FnOnce(u64) -> Op,
    ) -> RemoteAckRequest {
        let request = self.next_request();
        let message = self.message(namespace, op(request));
        // The lock is held until the request is registered, so no response is handled before.
        let mut requests = self.requests.lock();
        outcomes.expect_servers(self.backend.request(message));
        requests.insert(request, Request::Ask(outcomes.clone()));
        RemoteAckRequest { cluster: self.clone(), request, namespace: namespace.into() }
    }

    /// Sends a request to all other servers, and waits for their responses or for the timeout.
    ///
    /// A server that leaves during the request is not waited for and not reported as missing, because it no
    /// longer has sockets.
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
        // Whether all servers have responded or the timeout has expired, return the responses received so
        // far.
        let _ = tokio::time::timeout(self.timeout, done.notified()).await;
        let Some(Request::Gather { waiting, answers, .. }) = pending.take() else {
            return Responses { answers: Vec::new(), missing };
        };
        missing.extend(waiting);
        Responses { answers, missing }
    }

    /// Handles a response from another server. A response to a request that is no longer pending is ignored.
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
        // Read the list under the lock, because an older list might lack a server that has joined since and
        // that received a pending request.
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

/// An entry in the table of requests. On drop, the entry is removed.
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

/// A broadcast whose acknowledgements are collected by other servers. On drop, the other servers are
/// requested to stop collecting.
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
