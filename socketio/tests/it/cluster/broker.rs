//! A broker that counts servers instead of naming them, with an event log, as Redis with streams.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use socketio::{
    BoxFuture,
    cluster::{
        AckOutcome, Backend, Broker, ClusterFull, ClusterStatus, Inbound, Inbox, LogEntries, LogOffset,
        Message, Operation, Receivers, RecoveryStore, Reply, ReplyBody, SavedSession, ServerId, Unavailable,
    },
};

#[derive(Clone, Default)]
pub(super) struct TestBroker(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inboxes: Mutex<Vec<Inbox>>,
    log: Mutex<Vec<(LogOffset, Message)>>,
    sessions: Mutex<HashMap<String, (Arc<str>, SavedSession)>>,
    is_away: AtomicBool,
    reads: AtomicUsize,
    /// Called once between the first reading of the log and its result.
    on_read: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl TestBroker {
    /// Makes all requests fail.
    pub(super) fn set_away(&self, is_away: bool) {
        self.0.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Removes the oldest entries of the log.
    pub(super) fn trim(&self, entries: usize) {
        self.0.log.lock().drain(..entries);
    }

    pub(super) fn on_read(&self, call: impl FnOnce() + Send + 'static) {
        *self.0.on_read.lock() = Some(Box::new(call));
    }

    /// Removes all saved sessions, and returns their number.
    pub(super) fn take_sessions(&self) -> usize {
        self.0.sessions.lock().drain().count()
    }

    /// Returns how often the log was read.
    pub(super) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// Passes input to a server, as another program on the broker could.
    pub(super) fn send(&self, server: &ServerId, inbound: Inbound) {
        let inboxes = self.0.inboxes.lock();
        inboxes.iter().find(|inbox| inbox.server_id() == server).unwrap().try_send(inbound).unwrap();
    }
}

impl Broker for TestBroker {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        self.0.inboxes.lock().push(inbox.clone());
        Arc::new(TestBackend { shared: self.0, inbox })
    }
}

struct TestBackend {
    shared: Arc<Shared>,
    inbox: Inbox,
}

impl TestBackend {
    fn others(&self) -> Vec<Inbox> {
        let inboxes = self.shared.inboxes.lock();
        inboxes.iter().filter(|inbox| inbox.server_id() != self.inbox.server_id()).cloned().collect()
    }

    fn is_away(&self) -> bool {
        self.shared.is_away.load(Ordering::Relaxed)
    }
}

impl Backend for TestBackend {
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull> {
        let is_logged = self.inbox.wants_recovery()
            && matches!(&message.operation, Operation::Broadcast { flags, .. } if !flags.volatile);
        if !is_logged {
            return self
                .others()
                .iter()
                .try_for_each(|inbox| inbox.try_send(Inbound::Message(message.clone())));
        }
        if self.is_away() {
            return self.inbox.try_send(Inbound::Logged(message, None));
        }
        let mut log = self.shared.log.lock();
        let offset = LogOffset(7, log.last().map_or(1, |(LogOffset(_, last), _)| last + 1));
        log.push((offset, Message::clone(&message)));
        let inboxes = self.shared.inboxes.lock();
        inboxes.iter().try_for_each(|inbox| inbox.try_send(Inbound::Logged(message.clone(), Some(offset))))
    }

    fn request(&self, message: Arc<Message>) -> Receivers {
        let request = message.operation.request().expect("the message is a request");
        let others = self.others();
        let count = (!self.is_away()).then_some(others.len());
        self.inbox.try_send(Inbound::ReceiverCount(request.clone(), count)).unwrap();
        if count.is_some() {
            for inbox in others {
                inbox.try_send(Inbound::Message(message.clone())).unwrap();
            }
        }
        Receivers::Counted
    }

    fn reply(&self, to: &ServerId, reply: Reply) -> Result<(), ClusterFull> {
        let Reply { namespace, request, body, .. } = reply;
        let bodies = match body {
            ReplyBody::Recipients(recipients) => vec![ReplyBody::RecipientCount(recipients.len())],
            ReplyBody::Outcomes(outcomes) => outcomes
                .into_iter()
                .filter_map(|(_, outcome)| match outcome {
                    AckOutcome::Answer(args) => Some(ReplyBody::Ack(args)),
                    _ => None,
                })
                .collect(),
            // As in Node.js, a server without an answer is silent.
            ReplyBody::Answer(None) => vec![],
            body => vec![body],
        };
        let inbox = self.others().into_iter().find(|inbox| inbox.server_id() == to);
        let inbox = inbox.expect("the requesting server is present");
        bodies.into_iter().try_for_each(|body| {
            let (namespace, request) = (namespace.clone(), request.clone());
            inbox.try_send(Inbound::Reply(Reply { from: ServerId::unknown(), namespace, request, body }))
        })
    }

    fn servers(&self) -> Vec<ServerId> {
        Vec::new()
    }

    fn server_count(&self, _: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        let count = if self.is_away() { Err(Unavailable) } else { Ok(self.others().len() + 1) };
        Box::pin(async move { count })
    }

    fn status(&self) -> ClusterStatus {
        let mut status = ClusterStatus::default();
        status.is_connected = !self.is_away();
        status
    }

    fn recovery(&self) -> Option<Arc<dyn RecoveryStore>> {
        self.inbox.wants_recovery().then(|| Arc::new(Store(self.shared.clone())) as _)
    }

    fn leave(&self) -> BoxFuture<()> {
        self.shared.inboxes.lock().retain(|inbox| inbox.server_id() != self.inbox.server_id());
        Box::pin(async {})
    }
}

struct Store(Arc<Shared>);

impl Store {
    fn has(&self, offset: LogOffset) -> bool {
        self.0.log.lock().iter().any(|(other, _)| *other == offset)
    }
}

impl RecoveryStore for Store {
    fn save(&self, namespace: &str, session: SavedSession, _: Duration) {
        self.0.sessions.lock().insert(session.pid.clone(), (namespace.into(), session));
    }

    fn remove(&self, _: &str, pid: &str) {
        self.0.sessions.lock().remove(pid);
    }

    fn take(&self, namespace: Arc<str>, pid: String, offset: LogOffset) -> BoxFuture<Option<SavedSession>> {
        let saved = self.0.sessions.lock().remove(&pid);
        let found = saved.filter(|(of, _)| *of == namespace && self.has(offset)).map(|(_, session)| session);
        Box::pin(async move { found })
    }

    fn read(&self, namespace: Arc<str>, start: LogOffset, until: LogOffset) -> BoxFuture<Option<LogEntries>> {
        let mut entries = LogEntries { messages: Vec::new(), until };
        for (offset, message) in &*self.0.log.lock() {
            if *offset > until {
                entries.until = *offset;
                if message.namespace == namespace {
                    entries.messages.push((*offset, message.clone()));
                }
            }
        }
        let entries = self.has(start).then_some(entries);
        let (shared, on_read) = (self.0.clone(), self.0.on_read.lock().take());
        shared.reads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if let Some(on_read) = on_read {
                on_read();
                // The servers deliver what was published.
                while shared.inboxes.lock().iter().any(|inbox| !inbox.is_empty()) {
                    tokio::task::yield_now().await;
                }
                tokio::task::yield_now().await;
            }
            entries
        })
    }
}
