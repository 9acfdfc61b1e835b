//! The task that sends queued messages.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use socketio::cluster::{Inbound, Inbox, Message};
use tokio::{sync::mpsc, time::interval};

use crate::{log::Log, outgoing::Outgoing, queue::Queued, shared::Shared};

/// The maximum number of messages that are sent at once.
const BATCH: usize = 256;
/// How often old messages are dropped while the broker is away.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(250);

/// Opens connections to the broker for the [`Writer`]. The broker implements this trait.
pub trait Connector: Send + 'static {
    /// An open connection.
    type Link: Link;

    /// Connects, and tries again until it succeeds. The future may be dropped.
    fn connect(&mut self) -> impl Future<Output = Self::Link> + Send;
}

/// The error that a connection must be opened again.
#[derive(Debug)]
pub struct Lost;

/// An open connection to the broker, which implements this trait.
pub trait Link: Send {
    /// Sends messages in this order.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection must be opened again. Whether the other servers receive the messages
    /// is then unknown. They are not repeated, because no client may receive an event twice.
    fn send(&mut self, messages: &[Outgoing]) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Waits until the connection is lost.
    fn lost(&mut self) -> impl Future<Output = ()> + Send;
}

/// Takes messages from the queue and sends them. While there is no connection, it fails requests at once and
/// drops old messages.
#[derive(Debug)]
pub struct Writer<C> {
    /// Opens connections.
    pub connector: C,
    /// The state of the server.
    pub shared: Arc<Shared>,
    /// The input of the server, for requests that fail.
    pub inbox: Inbox,
    /// The queue.
    pub queue: mpsc::Receiver<Queued<Outgoing>>,
    /// The age at which a message is dropped if the broker is not connected.
    pub max_age: Duration,
    /// `Some` if the server delivers its broadcasts when it reads them from the event log.
    pub log: Option<Arc<Log>>,
}

impl<C: Connector> Writer<C> {
    /// Runs until the server leaves the cluster and the queue is empty.
    pub async fn run(mut self) {
        let shared = self.shared.clone();
        shared.send_until_left(self.send_all()).await;
        shared.set_flushed();
    }

    async fn send_all(&mut self) {
        let mut backlog = VecDeque::new();
        loop {
            let Some(link) = self.connect(&mut backlog).await else { return };
            if self.send_until_lost(link, &mut backlog).await.is_ok() {
                return;
            }
        }
    }

    /// Waits for a connection. Requests fail immediately, and old messages are dropped. Returns `None` if the
    /// queue is closed.
    async fn connect(&mut self, backlog: &mut VecDeque<Queued<Outgoing>>) -> Option<C::Link> {
        let Self { connector, shared, inbox, queue, max_age, .. } = self;
        let connecting = connector.connect();
        tokio::pin!(connecting);
        let mut expiry = interval(EXPIRY_INTERVAL);
        loop {
            tokio::select! {
                biased;
                link = &mut connecting => return Some(link),
                _ = expiry.tick() => shared.drop_expired(backlog, *max_age),
                queued = queue.recv() => {
                    let queued = queued?;
                    match &queued.content {
                        Outgoing::Request(message, _) => {
                            shared.release(&queued);
                            fail(inbox, message).await;
                        }
                        Outgoing::Logged(message, _) => {
                            let message = message.clone();
                            // Without a connection, it cannot be read from the event log.
                            inbox.send(Inbound::Logged(message.clone(), None)).await;
                            backlog.push_back(queued.replace(Outgoing::Message(message)).0);
                        }
                        _ => backlog.push_back(queued),
                    }
                }
            }
        }
    }

    /// Sends messages until the connection is lost. Returns `Ok` when the server has left the cluster and the
    /// queue is empty.
    async fn send_until_lost(
        &mut self,
        mut link: C::Link,
        backlog: &mut VecDeque<Queued<Outgoing>>,
    ) -> Result<(), Lost> {
        let mut batch = Vec::new();
        loop {
            batch.extend(backlog.drain(..BATCH.min(backlog.len())));
            if batch.is_empty() {
                let shared = self.shared.clone();
                tokio::select! {
                    biased;
                    // A lost connection is noticed before a message is lost with it.
                    () = link.lost() => return Err(Lost),
                    received = self.queue.recv_many(&mut batch, BATCH) => if received == 0 {
                        return Ok(());
                    },
                    () = shared.leaving() => return Ok(()),
                }
            }
            let messages = self.admit(&mut batch).await;
            if messages.is_empty() {
                continue;
            }
            if let Err(Lost) = link.send(&messages).await {
                self.shared.count_dropped(messages.len());
                for message in &messages {
                    self.give_up(message).await;
                }
                tracing::warn!(messages = messages.len(), "messages to other servers are lost");
                return Err(Lost);
            }
        }
    }

    /// Removes messages from the queue that can be sent.
    async fn admit(&self, batch: &mut Vec<Queued<Outgoing>>) -> Vec<Outgoing> {
        let mut messages = Vec::with_capacity(batch.len());
        for queued in batch.drain(..) {
            if let (Outgoing::Logged(message, number), Some(log)) = (&queued.content, &self.log) {
                let (message, number) = (message.clone(), *number);
                let (place, message) = queued.replace(message);
                log.insert(number, place);
                messages.push(message);
                continue;
            }
            self.shared.release(&queued);
            if let Outgoing::Request(message, generation) = &queued.content
                && !self.shared.is_subscribed(*generation).await
            {
                // The responses would not be received.
                fail(&self.inbox, message).await;
                continue;
            }
            messages.push(queued.content);
        }
        messages
    }

    /// Does what remains for a message that is lost with the connection.
    async fn give_up(&self, message: &Outgoing) {
        match message {
            Outgoing::Request(message, _) => fail(&self.inbox, message).await,
            Outgoing::Logged(_, number) => {
                if let Some(log) = &self.log {
                    log.deliver_unlogged(*number, &self.inbox).await;
                }
            }
            _ => {}
        }
    }
}

/// Ends a request that could not be sent.
async fn fail(inbox: &Inbox, message: &Message) {
    if let Some(request) = message.operation.request() {
        inbox.send(Inbound::ReceiverCount(request.clone(), None)).await;
    }
}
