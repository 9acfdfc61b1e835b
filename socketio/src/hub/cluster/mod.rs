//! Sends operations and requests to the other servers of the cluster.

pub(crate) mod backend;
pub(crate) mod memory;
pub(crate) mod message;
#[cfg(feature = "msgpack")]
pub(crate) mod node;
#[cfg(feature = "metrics")]
pub(crate) mod sampling;

use std::{
    collections::HashMap,
    fmt,
    iter::repeat_n,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engineio::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hub::ack_collector::AckCollector;
pub use backend::{
    Backend, Broker, ClusterStatus, Inbound, Inbox, LogEntries, LogOffset, Receivers, RecoveryStore,
    SavedSession, Unavailable,
};
pub use message::{
    BroadcastFlags, ClusterFull, EventPacket, Message, Operation, Reply, ReplyBody, RequestId, ServerId,
};

/// The membership of this server in its cluster, and its pending requests.
pub(crate) struct Cluster {
    pub(crate) id: ServerId,
    backend: Arc<dyn Backend>,
    /// The timeout of each request.
    timeout: Duration,
    requests: Mutex<HashMap<RequestId, Request>>,
    next: AtomicU64,
    /// Notified when this server leaves the cluster.
    left: Notify,
}

struct Request {
    namespace: Arc<str>,
    kind: RequestKind,
}

enum RequestKind {
    Acks(Arc<AckCollector>),
    Gather(Gather),
}

/// A request that each server responds to once.
struct Gather {
    /// `true` if the responses are sockets, and not the answers to a server event.
    is_fetch: bool,
    receivers: Waiting,
    answers: Vec<(ServerId, ReplyBody)>,
    /// The servers that did not receive the request, or that are gone without having responded.
    missing: Vec<ServerId>,
    done: Arc<Notify>,
}

/// The servers whose responses are pending.
enum Waiting {
    Known(Vec<ServerId>),
    /// The number of servers that received the request. `None` until the backend has reported the number.
    Counted(Option<usize>),
}

impl Gather {
    fn is_done(&self) -> bool {
        match &self.receivers {
            Waiting::Known(waiting) => waiting.is_empty(),
            Waiting::Counted(count) => count.is_some_and(|count| self.answers.len() >= count),
        }
    }

    fn answered(&mut self, from: ServerId, body: ReplyBody) {
        let is_expected = match body {
            ReplyBody::Sockets(_) => self.is_fetch,
            ReplyBody::Answer(_) => !self.is_fetch,
            _ => false,
        };
        if !is_expected {
            return;
        }
        match &mut self.receivers {
            Waiting::Known(waiting) => {
                let Some(at) = waiting.iter().position(|server| *server == from) else { return };
                waiting.swap_remove(at);
            }
            // A server that is known by its id answers once.
            Waiting::Counted(_) if from.is_unknown() => {}
            Waiting::Counted(_) if self.answers.iter().all(|(server, _)| *server != from) => {}
            Waiting::Counted(_) => return,
        }
        self.answers.push((from, body));
        self.notify();
    }

    fn notify(&self) {
        if self.is_done() {
            self.done.notify_one();
        }
    }

    fn into_responses(self) -> Responses {
        let mut missing = self.missing;
        match self.receivers {
            Waiting::Known(waiting) => missing.extend(waiting),
            Waiting::Counted(count) => {
                // If the number is unknown, at least one server was not reached.
                let count = count.unwrap_or(self.answers.len() + 1);
                missing.extend(repeat_n(ServerId::unknown(), count.saturating_sub(self.answers.len())));
            }
        }
        Responses { answers: self.answers, missing }
    }
}

/// The responses that were received in time, and the servers that did not respond in time.
#[derive(Default)]
pub(crate) struct Responses {
    pub(crate) answers: Vec<(ServerId, ReplyBody)>,
    pub(crate) missing: Vec<ServerId>,
}

impl Cluster {
    pub(crate) fn new(id: ServerId, backend: Arc<dyn Backend>, timeout: Duration) -> Self {
        let (requests, next, left) = (Mutex::default(), AtomicU64::new(0), Notify::new());
        Self { id, backend, timeout, requests, next, left }
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(crate) fn publish(&self, namespace: &Arc<str>, operation: Operation) -> Result<(), ClusterFull> {
        self.backend.publish(self.message(namespace, operation))
    }

    pub(crate) fn reply(&self, to: &ServerId, namespace: &Arc<str>, request: &RequestId, body: ReplyBody) {
        let (namespace, request) = (namespace.clone(), request.clone());
        if self.backend.reply(to, Reply { from: self.id.clone(), namespace, request, body }).is_err() {
            engineio::__log!(warn, server = %to, "a response is lost: the queue to the server is full");
        }
    }

    pub(crate) fn servers(&self) -> Vec<ServerId> {
        self.backend.servers()
    }

    /// Leaves the cluster. The future resolves when the queued messages are sent.
    pub(crate) fn leave(&self) -> BoxFuture<()> {
        let leaving = self.backend.leave();
        self.servers_changed();
        self.left.notify_one();
        leaving
    }

    /// Waits until this server leaves the cluster.
    pub(crate) async fn left(&self) {
        self.left.notified().await;
        // Each task that waits wakes the next one.
        self.left.notify_one();
    }

    /// Requests the other servers to deliver a broadcast and to collect its acknowledgements.
    pub(crate) fn request_acks(
        self: &Arc<Self>,
        namespace: &Arc<str>,
        outcomes: &Arc<AckCollector>,
        operation: impl FnOnce(RequestId) -> Operation,
    ) -> RemoteAckRequest {
        let request = self.next_request();
        let message = self.message(namespace, operation(request.clone()));
        // The lock is held until the request is registered, so no response is handled before.
        let mut requests = self.requests.lock();
        outcomes.expect_servers(self.backend.request(message));
        let kind = RequestKind::Acks(outcomes.clone());
        requests.insert(request.clone(), Request { namespace: namespace.clone(), kind });
        RemoteAckRequest { cluster: self.clone(), request, namespace: namespace.clone() }
    }

    /// Sends a request to all other servers, and waits for their responses or for the timeout.
    ///
    /// A server that is known to leave during the request is not waited for and not reported as missing,
    /// because it no longer has sockets.
    pub(crate) async fn gather(
        &self,
        namespace: &Arc<str>,
        timeout: Option<Duration>,
        operation: impl FnOnce(RequestId) -> Operation,
    ) -> Responses {
        let request = self.next_request();
        let message = self.message(namespace, operation(request.clone()));
        let is_fetch = matches!(message.operation, Operation::Fetch { .. });
        let done = Arc::new(Notify::new());
        {
            let mut requests = self.requests.lock();
            let (receivers, missing) = match self.backend.request(message) {
                Receivers::Known { waiting, unreachable } => (Waiting::Known(waiting), unreachable),
                Receivers::Counted => (Waiting::Counted(None), Vec::new()),
            };
            let gather = Gather { is_fetch, receivers, answers: Vec::new(), missing, done: done.clone() };
            gather.notify();
            let kind = RequestKind::Gather(gather);
            requests.insert(request.clone(), Request { namespace: namespace.clone(), kind });
        }
        let pending = Pending { cluster: self, request: &request };
        // Whether all servers have responded or the timeout has expired, return the responses received so
        // far.
        let _ = tokio::time::timeout(timeout.unwrap_or(self.timeout), done.notified()).await;
        match pending.take() {
            Some(RequestKind::Gather(gather)) => gather.into_responses(),
            _ => Responses::default(),
        }
    }

    /// Handles a response from another server. A response to a request that is no longer pending is ignored.
    pub(crate) fn answered(&self, Reply { from, request, body, .. }: Reply) {
        let mut requests = self.requests.lock();
        match requests.get_mut(&request).map(|request| &mut request.kind) {
            Some(RequestKind::Acks(outcomes)) => {
                let outcomes = outcomes.clone();
                drop(requests);
                match body {
                    ReplyBody::Recipients(recipients) => outcomes.server_recipients(&from, &recipients),
                    ReplyBody::Outcomes(arrived) => outcomes.server_outcomes(&from, arrived),
                    ReplyBody::RecipientCount(count) => outcomes.recipient_count(&from, count),
                    ReplyBody::Ack(args) => outcomes.anonymous_ack(&from, args),
                    ReplyBody::Sockets(_) | ReplyBody::Answer(_) => {}
                }
            }
            Some(RequestKind::Gather(gather)) => gather.answered(from, body),
            None => {}
        }
    }

    /// Handles the number of servers that received a request. If the request could not be sent, the request
    /// ends.
    pub(crate) fn receiver_count(&self, request: &RequestId, count: Option<usize>) {
        let mut requests = self.requests.lock();
        match requests.get_mut(request).map(|request| &mut request.kind) {
            Some(RequestKind::Acks(outcomes)) => {
                let outcomes = outcomes.clone();
                drop(requests);
                outcomes.receiver_count(count);
            }
            Some(RequestKind::Gather(Gather { receivers, done, .. })) if count.is_none() => {
                *receivers = Waiting::Counted(None);
                done.notify_one();
            }
            Some(RequestKind::Gather(gather)) => {
                gather.receivers = Waiting::Counted(count);
                gather.notify();
            }
            None => {}
        }
    }

    /// Stops waiting for a server in a namespace. If it is lost, requests report it as missing.
    pub(crate) fn server_gone(&self, namespace: &str, server: &ServerId, is_lost: bool) {
        let mut collectors = Vec::new();
        let mut requests = self.requests.lock();
        for request in requests.values_mut().filter(|request| *request.namespace == *namespace) {
            match &mut request.kind {
                RequestKind::Acks(outcomes) => collectors.push(outcomes.clone()),
                RequestKind::Gather(gather) => {
                    if let Waiting::Known(waiting) = &mut gather.receivers {
                        let gone = waiting.extract_if(.., |waiting| waiting == server);
                        gather.missing.extend(gone.filter(|_| is_lost));
                    }
                    gather.notify();
                }
            }
        }
        drop(requests);
        for outcomes in collectors {
            outcomes.server_gone(server, is_lost);
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
            match &mut request.kind {
                RequestKind::Acks(outcomes) => collectors.push(outcomes.clone()),
                RequestKind::Gather(gather) => {
                    if let Waiting::Known(waiting) = &mut gather.receivers {
                        waiting.retain(|server| present.contains(server));
                    }
                    gather.notify();
                }
            }
        }
        drop(requests);
        for outcomes in collectors {
            outcomes.retain_servers(&present);
        }
    }

    fn next_request(&self) -> RequestId {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{next:x}", self.id.as_str()).into()
    }

    fn message(&self, namespace: &Arc<str>, operation: Operation) -> Arc<Message> {
        Arc::new(Message { from: self.id.clone(), namespace: namespace.clone(), operation })
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An entry in the table of requests. On drop, the entry is removed.
struct Pending<'a> {
    cluster: &'a Cluster,
    request: &'a RequestId,
}

impl Pending<'_> {
    fn take(&self) -> Option<RequestKind> {
        Some(self.cluster.requests.lock().remove(self.request)?.kind)
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
    request: RequestId,
    namespace: Arc<str>,
}

impl Drop for RemoteAckRequest {
    fn drop(&mut self) {
        let request = self.cluster.requests.lock().remove(&self.request);
        if let Some(Request { kind: RequestKind::Acks(outcomes), .. }) = request
            && !outcomes.is_remote_done()
            && self
                .cluster
                .publish(&self.namespace, Operation::CancelAcks { request: self.request.clone() })
                .is_err()
        {
            engineio::__log!(warn, "a server still gathers acknowledgements: the queue to it is full");
        }
    }
}
