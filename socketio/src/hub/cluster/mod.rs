//! The other servers: what is told to them, and what they are asked for.

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

/// Names a server of a cluster, for as long as it is there.
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

/// What servers do together. The packets are as the protocol has them, whatever the clients of each server speak.
#[derive(Debug)]
pub(crate) enum Op {
    Broadcast {
        target: Target,
        packet: Frames,
        volatile: bool,
        uncompressed: bool,
    },
    /// A broadcast with acknowledgements. Each server gives it an id of its own.
    Ask {
        request: u64,
        target: Target,
        packet: Frames,
        volatile: bool,
        uncompressed: bool,
    },
    /// Nobody waits for these acknowledgements any more.
    Forget {
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

/// An answer to the server that has asked.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) from: ServerId,
    pub(crate) request: u64,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// To [`Op::Ask`], first: who has got the event.
    Recipients(Vec<Sid>),
    /// Then what became of it, by the place among the recipients.
    AckCollector(Vec<(u32, Outcome)>),
    /// To [`Op::Fetch`].
    Sockets(Vec<Summary>),
    /// To [`Op::ServerEvent`]; `None` if its handler does not answer, or if there is none.
    Answer(Option<AckArgs>),
}

/// What comes from other servers, in the order in which each has sent it.
#[derive(Debug)]
pub(crate) enum Inbound {
    Message(Arc<Message>),
    Reply(Reply),
}

/// This server's end of what comes in.
pub(crate) struct Inbox {
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    /// All servers that are there. It changes before the first message of one that has come, and a change that
    /// tells of one that has left may be read after its last message.
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

/// Who has got a request.
pub(crate) struct Quorum {
    /// Those that will answer, or leave.
    pub(crate) waiting: Vec<ServerId>,
    /// Those whose queues are full: they know nothing of it.
    pub(crate) missed: Vec<ServerId>,
}

/// A way to other servers. No method blocks, or waits for anybody; what they queue is bounded.
pub(crate) trait Backend: Send + Sync {
    /// Queues a message for all other servers, in order.
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull>;

    /// As `publish`; says in the same step who has got it.
    fn request(&self, message: Arc<Message>) -> Quorum;

    /// Queues an answer for the server that has asked.
    fn reply(&self, to: ServerId, reply: Reply) -> Result<(), ClusterFull>;

    /// All servers that are there, this one among them; none once it has left.
    fn servers(&self) -> Vec<ServerId>;

    /// Tells the others that this server is there no more. Afterwards nothing comes in or goes out.
    fn leave(&self);
}

/// This server's place among the others, and what it has asked them for.
pub(crate) struct Cluster {
    pub(crate) id: ServerId,
    backend: Box<dyn Backend>,
    /// How long servers may take to answer.
    timeout: Duration,
    requests: Mutex<HashMap<u64, Request>>,
    next: AtomicU64,
}

enum Request {
    Ask(Arc<AckCollector>),
    Gather { waiting: Vec<ServerId>, answers: Vec<(ServerId, Body)>, done: Arc<Notify> },
}

/// What came in time, and which servers have not answered.
pub(crate) struct Gathered {
    pub(crate) answers: Vec<(ServerId, Body)>,
    pub(crate) missing: Vec<ServerId>,
}

impl Cluster {
    pub(crate) fn new(id: ServerId, backend: Box<dyn Backend>, timeout: Duration) -> Self {
        Self { id, backend, timeout, requests: Mutex::default(), next: AtomicU64::new(0) }
    }

    pub(crate) fn publish(&self, namespace: &str, op: Op) -> Result<(), ClusterFull> {
        self.backend.publish(self.message(namespace, op))
    }

    pub(crate) fn reply(&self, to: ServerId, request: u64, body: Body) {
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

    /// Asks the other servers to take part in a broadcast with acknowledgements.
    pub(crate) fn ask(
        self: &Arc<Self>,
        namespace: &str,
        outcomes: &Arc<AckCollector>,
        op: impl FnOnce(u64) -> Op,
    ) -> RemoteAckRequest {
        let request = self.next_request();
        let message = self.message(namespace, op(request));
        // Held, so that no answer comes before it is known who is to answer.
        let mut requests = self.requests.lock();
        outcomes.expect_servers(self.backend.request(message));
        requests.insert(request, Request::Ask(outcomes.clone()));
        RemoteAckRequest { cluster: self.clone(), request, namespace: namespace.into() }
    }

    /// Asks all other servers for something, and waits for all of them or for the timeout.
    ///
    /// One that leaves is not waited for, and not missing either: nothing is there any more.
    pub(crate) async fn gather(&self, namespace: &str, op: impl FnOnce(u64) -> Op) -> Gathered {
        let request = self.next_request();
        let message = self.message(namespace, op(request));
        let done = Arc::new(Notify::new());
        let mut missing = {
            let mut requests = self.requests.lock();
            let Quorum { waiting, missed } = self.backend.request(message);
            if waiting.is_empty() {
                return Gathered { answers: Vec::new(), missing: missed };
            }
            requests.insert(request, Request::Gather { waiting, answers: Vec::new(), done: done.clone() });
            missed
        };
        let pending = Pending { cluster: self, request };
        // What has come by then counts, whichever it is.
        let _ = tokio::time::timeout(self.timeout, done.notified()).await;
        let Some(Request::Gather { waiting, answers, .. }) = pending.take() else {
            return Gathered { answers: Vec::new(), missing };
        };
        missing.extend(waiting);
        Gathered { answers, missing }
    }

    /// Takes an answer of another server; one that nobody waits for any more is forgotten.
    pub(crate) fn answered(&self, Reply { from, request, body }: Reply) {
        let mut requests = self.requests.lock();
        match (requests.get_mut(&request), body) {
            (Some(Request::Ask(outcomes)), body) => {
                let outcomes = outcomes.clone();
                drop(requests);
                match body {
                    Body::Recipients(recipients) => outcomes.server_recipients(from, &recipients),
                    Body::AckCollector(arrived) => outcomes.server_outcomes(from, arrived),
                    Body::Sockets(_) | Body::Answer(_) => {}
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

    /// Waits no longer for servers that have left.
    pub(crate) fn servers_changed(&self) {
        let mut asked = Vec::new();
        let mut requests = self.requests.lock();
        // Read under the lock: a request that was made before knows no server that has come since.
        let present = self.backend.servers();
        for request in requests.values_mut() {
            match request {
                Request::Ask(outcomes) => asked.push(outcomes.clone()),
                Request::Gather { waiting, done, .. } => {
                    waiting.retain(|server| present.contains(server));
                    if waiting.is_empty() {
                        done.notify_one();
                    }
                }
            }
        }
        drop(requests);
        for outcomes in asked {
            outcomes.servers_left(&present);
        }
    }

    fn next_request(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn message(&self, namespace: &str, op: Op) -> Arc<Message> {
        Arc::new(Message { from: self.id, namespace: namespace.into(), op })
    }
}

/// A place in the table of requests, given back on drop.
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

/// A broadcast whose acknowledgements other servers gather too; on drop they hear that nobody waits any more.
pub(crate) struct RemoteAckRequest {
    cluster: Arc<Cluster>,
    request: u64,
    namespace: Box<str>,
}

impl Drop for RemoteAckRequest {
    fn drop(&mut self) {
        let request = self.cluster.requests.lock().remove(&self.request);
        if let Some(Request::Ask(outcomes)) = request
            && !outcomes.servers_are_done()
            && self.cluster.publish(&self.namespace, Op::Forget { request: self.request }).is_err()
        {
            engineio::__log!(warn, "a server still gathers acknowledgements: the queue to it is full");
        }
    }
}
