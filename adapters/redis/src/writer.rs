//! The task that encodes queued messages and sends them to Redis, many with one write.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Pipeline, PushInfo, PushKind, RedisResult, Value,
    aio::{MultiplexedConnection, SendError},
};
use socketio::cluster::{Inbound, Inbox, Message, RequestId};
use socketio_broker::{Backoff, Shared};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{
    connect::{RESPONSE_TIMEOUT, connect},
    dialect::{Dialect, Publish},
    queue::{Content, Queued},
    streams::Log,
};

/// The maximum number of messages in one pipeline.
const BATCH: usize = 256;

/// The connection that commands are sent on. `None` while Redis is not connected.
pub(crate) type CommandConnection = Arc<Mutex<Option<Commands>>>;

#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) connection: MultiplexedConnection,
    /// Makes the writer connect again.
    pub(crate) lost: Arc<Notify>,
}

pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) queue: mpsc::Receiver<Queued>,
    pub(crate) connection: CommandConnection,
    /// The age at which a message is dropped if Redis is not connected.
    pub(crate) max_age: Duration,
    /// `Some` if the server delivers its broadcasts when it reads them from the stream.
    pub(crate) log: Option<Arc<Log>>,
}

impl Writer {
    /// Runs until the server leaves the cluster and the queue is empty.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        shared.send_until_left(self.send_all()).await;
        self.connection.lock().take();
        shared.set_flushed();
    }

    async fn send_all(&mut self) {
        let mut backlog = VecDeque::new();
        let mut backoff = Backoff::default();
        loop {
            let lost = Arc::new(Notify::new());
            let Some(connection) = self.connect(lost.clone()).await else {
                self.wait(&mut backlog, backoff.next_delay()).await;
                continue;
            };
            backoff = Backoff::default();
            let commands = Commands { connection: connection.clone(), lost: lost.clone() };
            *self.connection.lock() = Some(commands);
            if self.send_until_error(connection, &lost, &mut backlog).await.is_ok() {
                return;
            }
            self.connection.lock().take();
        }
    }

    async fn connect(&self, lost: Arc<Notify>) -> Option<MultiplexedConnection> {
        let push = move |PushInfo { kind, .. }| {
            if kind == PushKind::Disconnection {
                lost.notify_one();
            }
            Ok::<_, SendError>(())
        };
        let config =
            AsyncConnectionConfig::new().set_push_sender(push).set_response_timeout(Some(RESPONSE_TIMEOUT));
        connect(&self.client, &self.shared, config).await
    }

    /// Waits before the next attempt to connect. Requests fail immediately, and old messages are dropped.
    async fn wait(&mut self, backlog: &mut VecDeque<Queued>, delay: Duration) {
        let end = Instant::now() + delay;
        loop {
            self.shared.drop_expired(backlog, self.max_age);
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                queued = self.queue.recv() => match queued {
                    Some(Queued { content: Content::Request(ref message, _), .. }) => {
                        let request = message.operation.request().cloned();
                        if let Some(queued) = queued {
                            self.shared.release(&queued);
                            self.report(request, None).await;
                        }
                    }
                    Some(mut queued) => {
                        if let Content::Logged(message, _) = &queued.content {
                            let message = message.clone();
                            self.deliver_unlogged(message.clone()).await;
                            queued.content = Content::Message(message);
                        }
                        backlog.push_back(queued);
                    }
                    None => return,
                },
            }
        }
    }

    /// Sends messages until the connection fails. Returns `Ok` when the server has left the cluster and the
    /// queue is empty.
    async fn send_until_error(
        &mut self,
        mut connection: MultiplexedConnection,
        lost: &Notify,
        backlog: &mut VecDeque<Queued>,
    ) -> Result<(), ()> {
        let mut batch = Vec::new();
        loop {
            batch.extend(backlog.drain(..BATCH.min(backlog.len())));
            if batch.is_empty() {
                // A lost connection is noticed before a message is lost with it.
                tokio::select! {
                    biased;
                    () = lost.notified() => return Err(()),
                    is_open = self.receive(&mut batch) => if !is_open {
                        return Ok(());
                    },
                }
            }
            let messages = batch.len();
            let (pipeline, requests, logged) = self.encode(&mut batch).await;
            if pipeline.is_empty() {
                continue;
            }
            let results: RedisResult<Vec<Value>> = pipeline.query_async(&mut connection).await;
            match results {
                Ok(results) => self.report_all(requests, &results).await,
                Err(error) => {
                    // Whether Redis has executed the commands is unknown. They are not repeated, because no
                    // client may receive an event twice.
                    self.shared.count_dropped(messages);
                    for (request, _) in requests {
                        self.report(Some(request), None).await;
                    }
                    for message in logged.into_iter().filter_map(|number| self.log.as_ref()?.take(number)) {
                        self.deliver_unlogged(message).await;
                    }
                    tracing::warn!(%error, messages, "messages to other servers are lost");
                    if error.is_connection_dropped() || error.is_timeout() || error.is_io_error() {
                        return Err(());
                    }
                }
            }
        }
    }

    /// Receives messages. Returns `false` if the server has left the cluster and the queue is empty.
    async fn receive(&mut self, batch: &mut Vec<Queued>) -> bool {
        let shared = self.shared.clone();
        tokio::select! {
            biased;
            received = self.queue.recv_many(batch, BATCH) => received > 0,
            () = shared.leaving() => false,
        }
    }

    /// Encodes messages as one pipeline. Also returns the requests in it, with the indices of their results,
    /// and the numbers of the broadcasts that are delivered when they are read.
    async fn encode(&self, batch: &mut Vec<Queued>) -> (Pipeline, Vec<(RequestId, usize)>, Vec<u64>) {
        let mut pipeline = redis::pipe();
        let (mut requests, mut logged, mut results) = (Vec::new(), Vec::new(), 0);
        for queued in batch.drain(..) {
            if let (Content::Logged(message, number), Some(log)) = (&queued.content, &self.log) {
                if let Some(command) = self.dialect.encode_logged(message, *number) {
                    pipeline.add_command(command);
                    results += 1;
                    logged.push(*number);
                    log.insert(*number, queued);
                }
                continue;
            }
            self.shared.release(&queued);
            let publishes = match &queued.content {
                // The responses would not be received.
                Content::Request(message, generation) if !self.shared.is_subscribed(*generation).await => {
                    self.report(message.operation.request().cloned(), None).await;
                    continue;
                }
                Content::Message(message) | Content::Request(message, _) => self.dialect.encode(message),
                Content::Reply(to, reply) => self.dialect.encode_reply(to, reply),
                Content::Command(command) => vec![Publish { command: command.clone(), request: None }],
                Content::Logged(..) => continue,
            };
            for Publish { command, request } in publishes {
                pipeline.add_command(command);
                results += 1;
                if let Some((request, count)) = request {
                    requests.push((request, results - 1));
                    pipeline.add_command(count);
                    results += 1;
                }
            }
        }
        (pipeline, requests, logged)
    }

    /// Delivers a broadcast that could not be appended to the stream, or that may be there.
    async fn deliver_unlogged(&self, message: Arc<Message>) {
        self.inbox.send(Inbound::Logged(message, None)).await;
    }

    async fn report_all(&self, requests: Vec<(RequestId, usize)>, results: &[Value]) {
        for (request, at) in requests {
            // The result of the command is exact, but includes connections that monitor all channels.
            let received = match results.get(at) {
                Some(Value::Int(received)) => usize::try_from(*received).unwrap_or(0),
                _ => usize::MAX,
            };
            let subscribers = results.get(at + 1).and_then(subscriber_count).unwrap_or(usize::MAX);
            // This server is one of them.
            let others = received.min(subscribers).saturating_sub(1);
            self.report(Some(request), Some(others)).await;
        }
    }

    async fn report(&self, request: Option<RequestId>, receivers: Option<usize>) {
        if let Some(request) = request {
            self.inbox.send(Inbound::ReceiverCount(request, receivers)).await;
        }
    }
}

/// Reads the result of `PUBSUB NUMSUB` for one channel.
pub(crate) fn subscriber_count(value: &Value) -> Option<usize> {
    match value {
        Value::Array(entries) => match entries.get(1)? {
            Value::Int(count) => usize::try_from(*count).ok(),
            _ => None,
        },
        Value::Map(entries) => match entries.first()? {
            (_, Value::Int(count)) => usize::try_from(*count).ok(),
            _ => None,
        },
        _ => None,
    }
}
