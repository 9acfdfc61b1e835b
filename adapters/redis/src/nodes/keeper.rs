//! The task that keeps a connection to one node.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value, aio::SendError};
use socketio_broker::Backoff;
use tokio::{sync::Notify, time::timeout};

use super::{Commands, Node, Nodes, RESPONSE_TIMEOUT, is_lost};

/// Tells that a connection is lost, before anything else is sent on it.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    is_lost: AtomicBool,
    notify: Arc<Notify>,
}

impl Lost {
    /// Several connections may notify the same task.
    pub(crate) fn new(notify: Arc<Notify>) -> Self {
        Self { is_lost: AtomicBool::new(false), notify }
    }

    pub(crate) fn set(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }
}

/// Returns the function that takes the messages of a connection for commands.
fn push_sender(lost: Arc<Lost>) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static {
    move |PushInfo { kind, .. }| {
        if kind == PushKind::Disconnection {
            lost.set();
        }
        Ok(())
    }
}

/// Keeps a connection to a node until the task is aborted.
pub(super) async fn keep(nodes: Arc<Nodes>, node: Node) {
    let mut backoff = Backoff::default();
    loop {
        let lost = Arc::new(Lost::default());
        let config = AsyncConnectionConfig::new()
            .set_push_sender(push_sender(lost.clone()))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        if let Some(connection) = nodes.connect(&node, config).await {
            backoff = Backoff::default();
            let commands = Commands { connection: connection.clone(), lost: lost.clone() };
            if !nodes.insert(&node, commands) {
                return;
            }
            // A silent connection is not lost until it is used.
            while timeout(nodes.interval, lost.wait()).await.is_err() {
                let mut connection = connection.clone();
                let pong: RedisResult<Value> = redis::cmd("PING").query_async(&mut connection).await;
                if pong.is_err_and(|error| is_lost(&error)) {
                    lost.set();
                }
            }
            nodes.state.lock().open.remove(&node);
            nodes.notify();
            nodes.set_stale();
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
