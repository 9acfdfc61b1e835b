//! Connects the queue, the writer and the subscriber of one server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engineio::BoxFuture;
use socketio::cluster::{
    Backend, ClusterFull, ClusterStatus, Inbox, Message, Receivers, RecoveryStore, Reply, ServerId,
    Unavailable,
};
use socketio_broker::{Log, Shared, Wanted, is_logged};
use tokio::{runtime::Handle, time::sleep};

use crate::{
    count::count,
    dialect::{Channel, Dialect},
    nodes::{Address, Nodes},
    queue::{Content, Queue},
    subscriber::Subscriber,
    writer::Writer,
};

/// The options of the connections.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionOptions {
    pub(crate) address: Address,
    pub(crate) max_queued_bytes: usize,
    pub(crate) max_queued_age: Duration,
    pub(crate) watchdog_interval: Duration,
}

/// The time between the removal of a namespace and the end of its subscriptions. Servers of Node.js count the
/// receivers of a request before they send it, and wait for the responses of all of them.
const UNSUBSCRIBE_DELAY: Duration = Duration::from_millis(200);

pub(crate) struct RedisBackend {
    runtime: Handle,
    inbox: Inbox,
    dialect: Arc<dyn Dialect>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Queue,
    recovery: Option<Recovery>,
    wanted: Arc<Wanted<Channel>>,
    pub(crate) nodes: Arc<Nodes>,
}

/// The event log.
struct Recovery {
    store: Arc<dyn RecoveryStore>,
    /// The number of broadcasts that were published to be delivered when they are read.
    logged: AtomicU64,
}

impl RedisBackend {
    /// Starts the tasks of a server. With a log, the server delivers its broadcasts when it reads them from the stream.
    pub(crate) fn start(
        options: ConnectionOptions,
        dialect: Arc<dyn Dialect>,
        inbox: Inbox,
        log: impl FnOnce(&Arc<Shared>) -> Option<Arc<Log>>,
    ) -> Self {
        let ConnectionOptions { address, max_queued_bytes, max_queued_age, watchdog_interval } = options;
        let shared = Arc::new(Shared::new(max_queued_bytes));
        let (queue, receiver) = Queue::new(shared.clone());
        let wanted = Arc::new(Wanted::default());
        let nodes = Nodes::new(address, shared.clone(), watchdog_interval);
        let writer = Writer {
            nodes: nodes.clone(),
            dialect: dialect.clone(),
            shared: shared.clone(),
            inbox: inbox.clone(),
            queue: receiver,
            max_age: max_queued_age,
            log: log(&shared),
        };
        let subscriber = Subscriber {
            nodes: nodes.clone(),
            dialect: dialect.clone(),
            shared: shared.clone(),
            inbox: inbox.clone(),
            wanted: wanted.clone(),
            watchdog_interval,
        };
        tokio::spawn(nodes.clone().run());
        tokio::spawn(writer.run());
        tokio::spawn(subscriber.run());
        let runtime = Handle::current();
        Self { runtime, inbox, dialect, shared, queue, recovery: None, wanted, nodes }
    }

    /// Sets the event log, for a server with connection state recovery.
    pub(crate) fn with_recovery(mut self, store: Arc<dyn RecoveryStore>) -> Self {
        self.recovery = Some(Recovery { store, logged: AtomicU64::new(0) });
        self
    }
}

impl Backend for RedisBackend {
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull> {
        self.queue.push(match &self.recovery {
            Some(Recovery { logged, .. }) if is_logged(&message.operation) => {
                Content::Logged(message, logged.fetch_add(1, Ordering::Relaxed))
            }
            _ => Content::Message(message),
        })
    }

    fn request(&self, message: Arc<Message>) -> Receivers {
        match self.queue.push(Content::Request(message, self.wanted.generation())) {
            Ok(()) if !self.shared.has_left() => Receivers::Counted,
            Ok(()) => Receivers::Known { waiting: Vec::new(), unreachable: Vec::new() },
            Err(ClusterFull) => {
                Receivers::Known { waiting: Vec::new(), unreachable: vec![ServerId::unknown()] }
            }
        }
    }

    fn reply(&self, to: &ServerId, reply: Reply) -> Result<(), ClusterFull> {
        self.queue.push(Content::Reply(to.clone(), reply))
    }

    fn servers(&self) -> Vec<ServerId> {
        Vec::new()
    }

    fn server_count(&self, namespace: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        let (servers, nodes) = (self.dialect.count(&namespace), self.nodes.clone());
        Box::pin(async move {
            // Count this server even if its subscription is not established.
            Ok(count(&nodes, &servers).await.ok_or(Unavailable)?.max(1))
        })
    }

    fn namespace_created(&self, namespace: &str) {
        self.wanted.add(namespace, self.dialect.channels(self.inbox.server_id(), namespace));
    }

    fn namespace_removed(&self, namespace: &str) {
        let (wanted, namespace) = (self.wanted.clone(), namespace.to_owned());
        let channels = self.dialect.channels(self.inbox.server_id(), &namespace);
        self.runtime.spawn(async move {
            sleep(UNSUBSCRIBE_DELAY).await;
            wanted.remove(&namespace, channels);
        });
    }

    fn tracks_rooms(&self) -> bool {
        self.dialect.has_room_channels()
    }

    fn room_changed(&self, namespace: &str, room: &str) {
        if let Some(channel) = self.dialect.room_channel(namespace, room) {
            self.wanted.set(namespace, &channel, || self.inbox.has_room(namespace, room));
        }
    }

    fn connected(&self) -> BoxFuture<()> {
        self.shared.connected(self.wanted.generation())
    }

    fn status(&self) -> ClusterStatus {
        self.shared.status()
    }

    fn recovery(&self) -> Option<Arc<dyn RecoveryStore>> {
        self.recovery.as_ref().map(|recovery| recovery.store.clone())
    }

    fn leave(&self) -> BoxFuture<()> {
        self.shared.leave()
    }
}
