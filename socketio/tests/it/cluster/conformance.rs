//! The suite that brokers are checked with: `MemoryBus` passes it, and brokers with faults do not.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt;
use socketio::{
    BoxFuture, MemoryBus, ServerId,
    cluster::{
        Backend, Broker, ClusterFull, Inbox, Message, Operation, Receivers, RecoveryStore, Reply, Unavailable,
    },
    testing::check_broker,
};

use super::broker::TestBroker;

#[tokio::test(start_paused = true)]
async fn the_memory_bus_keeps_all_rules() {
    let bus = MemoryBus::new();
    check_broker(async || bus.clone()).await;
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Each tenth message is sent twice.
    Doubled,
    /// Each tenth message is not sent.
    Lost,
    /// Each tenth message changes places with the next one.
    Reordered,
    /// Removals from rooms are not sent.
    NoLeave,
    /// Responses are not sent.
    Mute,
    /// The server does not leave.
    Immortal,
    /// This server is counted alone.
    Alone,
    /// The queue is never full.
    Unbounded,
}

/// A bus with a fault.
struct Faulty {
    bus: MemoryBus,
    fault: Fault,
}

struct FaultyBackend {
    inner: Arc<dyn Backend>,
    fault: Fault,
    published: AtomicUsize,
    kept: parking_lot::Mutex<Option<Arc<Message>>>,
}

impl Broker for Faulty {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let (inner, fault) = (self.bus.connect(inbox), self.fault);
        Arc::new(FaultyBackend {
            inner,
            fault,
            published: AtomicUsize::new(1),
            kept: parking_lot::Mutex::default(),
        })
    }
}

impl Backend for FaultyBackend {
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull> {
        let is_tenth = self.published.fetch_add(1, Ordering::Relaxed).is_multiple_of(10);
        match self.fault {
            Fault::Doubled if is_tenth => self.inner.publish(message.clone())?,
            Fault::Lost if is_tenth => return Ok(()),
            Fault::NoLeave if matches!(message.operation, Operation::Leave { .. }) => return Ok(()),
            Fault::Reordered if is_tenth => {
                *self.kept.lock() = Some(message);
                return Ok(());
            }
            Fault::Unbounded => {
                let _ = self.inner.publish(message);
                return Ok(());
            }
            _ => {}
        }
        self.inner.publish(message)?;
        let kept = self.kept.lock().take();
        kept.map_or(Ok(()), |kept| self.inner.publish(kept))
    }

    fn request(&self, message: Arc<Message>) -> Receivers {
        self.inner.request(message)
    }

    fn reply(&self, to: &ServerId, reply: Reply) -> Result<(), ClusterFull> {
        if matches!(self.fault, Fault::Mute) { Ok(()) } else { self.inner.reply(to, reply) }
    }

    fn servers(&self) -> Vec<ServerId> {
        self.inner.servers()
    }

    fn server_count(&self, namespace: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        if matches!(self.fault, Fault::Alone) {
            return Box::pin(async { Ok(1) });
        }
        self.inner.server_count(namespace)
    }

    fn recovery(&self) -> Option<Arc<dyn RecoveryStore>> {
        self.inner.recovery()
    }

    fn leave(&self) -> BoxFuture<()> {
        if matches!(self.fault, Fault::Immortal) { Box::pin(async {}) } else { self.inner.leave() }
    }
}

/// Returns the text that the suite panics with.
async fn broken(fault: Fault) -> String {
    let bus = MemoryBus::new();
    let checked = check_broker(async || Faulty { bus: bus.clone(), fault });
    let panic = std::panic::AssertUnwindSafe(checked).catch_unwind().await.unwrap_err();
    *panic.downcast::<String>().unwrap()
}

#[tokio::test(start_paused = true)]
async fn faults_are_found_and_named() {
    for (fault, rule) in [
        (Fault::Doubled, "- the messages of one server arrive in the order of the calls"),
        (Fault::Lost, "- what was queued before a server leaves is sent"),
        (Fault::Reordered, "- the messages of one server arrive in the order of the calls"),
        (Fault::NoLeave, "- the sockets of other servers are joined to rooms, removed from them"),
        (Fault::Mute, "- `fetch_sockets` returns the sockets of all servers"),
        (Fault::Immortal, "- servers that start and leave are counted"),
        (Fault::Alone, "- servers that start and leave are counted"),
        (Fault::Unbounded, "- a full queue is an error that neither blocks nor lasts"),
    ] {
        let broken = broken(fault).await;
        assert!(broken.contains(rule), "{fault:?} is reported as: {broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_log_is_checked() {
    let broker = TestBroker::default();
    let checking = check_broker(async || broker.clone());
    if let Err(panic) = std::panic::AssertUnwindSafe(checking).catch_unwind().await {
        let text = panic.downcast::<String>().unwrap();
        assert!(!text.contains("event log"), "{text}");
    }
}
