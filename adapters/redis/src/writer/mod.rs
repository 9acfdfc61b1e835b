//! The task that encodes queued messages and sends them to Redis, many with one write.
//!
//! Messages are sent in the order of the queue to the nodes that have their slots. What a node does not take is held
//! until it does, and so is what follows for the same slot. What may have been executed is not sent again.

mod held;

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures::future::join_all;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use socketio::cluster::{Inbound, Inbox, RequestId};
use socketio_broker::{Log, Shared};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    count::{count, subscriber_count},
    dialect::{Count, Dialect, Publish},
    nodes::{Course, Failure, Node, Nodes, is_lost},
    queue::{Content, Encoded, Logged, Queued},
    writer::held::{Held, Turn},
};

/// The maximum number of messages that are sent before results are awaited.
const BATCH: usize = 256;
/// The time after which a refused message is sent again.
const REFUSED: Duration = Duration::from_millis(50);
/// The time after which messages for a node that is not connected are looked at again.
const UNCONNECTED: Duration = Duration::from_millis(250);

/// The time after which messages for a slot are sent to another node. The servers subscribe there meanwhile.
const SETTLING: Duration = Duration::from_millis(100);

type Unit = socketio_broker::Queued<Encoded>;

pub(crate) struct Writer {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) queue: mpsc::Receiver<Queued>,
    /// The age at which a message is dropped if Redis does not take it.
    pub(crate) max_age: Duration,
    /// `Some` if the server delivers its broadcasts when it reads them from the stream.
    pub(crate) log: Option<Arc<Log>>,
}

/// The messages that are sent to a node at once.
struct Batch {
    node: Node,
    connection: MultiplexedConnection,
    units: Vec<Unit>,
}

type Results = Vec<RedisResult<Value>>;

impl Batch {
    /// Returns the only command, if there is one.
    fn only_command(&self) -> Option<&Cmd> {
        let [Unit { content: Encoded { publishes, asked: None, .. }, .. }] = &self.units[..] else {
            return None;
        };
        let [Publish { command, request: None, .. }] = &publishes[..] else { return None };
        Some(command)
    }

    /// Executes the commands. Returns an error if the connection is lost.
    async fn execute(&mut self, pipeline: impl FnOnce(&[Unit]) -> Pipeline) -> RedisResult<Results> {
        let mut connection = self.connection.clone();
        let Some(command) = self.only_command() else {
            return pipeline(&self.units).query_async(&mut connection).await;
        };
        match command.query_async(&mut connection).await {
            Err(error) if is_lost(&error) => Err(error),
            result => Ok(vec![result]),
        }
    }
}

impl Writer {
    /// Runs until the server leaves the cluster and the queue is empty.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        shared.send_until_left(self.send_all()).await;
        self.nodes.close();
        shared.set_flushed();
    }

    async fn send_all(&mut self) {
        let (mut held, mut received) = (Held::default(), Vec::new());
        let mut changes = self.nodes.changes();
        let mut course = Course::new(SETTLING);
        let mut is_open = true;
        let shared = self.shared.clone();
        let mut leaving = pin!(shared.leaving());
        while is_open || !held.units.is_empty() {
            let retry = held.retry.unwrap_or_else(Instant::now);
            let is_retry = tokio::select! {
                biased;
                // The sender of the changes is part of `self`.
                _ = changes.changed() => true,
                () = tokio::time::sleep_until(retry), if held.retry.is_some() => true,
                is_received = self.receive(&mut received, leaving.as_mut()), if is_open => {
                    is_open = is_received;
                    false
                }
            };
            let mut units = Vec::new();
            if is_retry {
                self.drop_expired(&mut held).await;
                units.extend(held.take());
            }
            for queued in received.drain(..) {
                units.extend(self.encode(queued).await);
            }
            let mut units = units.into_iter().peekable();
            while units.peek().is_some() {
                // All messages for a slot have one node, even if it is moved meanwhile.
                course.follow(self.nodes.routes());
                self.send(&course, units.by_ref().take(BATCH), &mut held).await;
            }
        }
    }

    /// Receives messages. Returns `false` if the server has left the cluster and the queue is empty.
    async fn receive(&mut self, received: &mut Vec<Queued>, leaving: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            count = self.queue.recv_many(received, BATCH) => count > 0,
            () = leaving => false,
        }
    }

    /// Drops held messages that are too old.
    async fn drop_expired(&self, held: &mut Held) {
        for unit in held.units.iter().take_while(|unit| unit.since.elapsed() > self.max_age) {
            self.give_up(&unit.content).await;
        }
        self.shared.drop_expired(&mut held.units, self.max_age);
    }

    /// Encodes a message.
    async fn encode(&self, queued: Queued) -> Option<Unit> {
        let (mut logged, mut request) = (None, None);
        let publishes = match &queued.content {
            // The responses would not be received.
            Content::Request(message, generation) if !self.shared.is_subscribed(*generation).await => {
                request = message.operation.request().cloned();
                Vec::new()
            }
            Content::Message(message) | Content::Request(message, _) => self.dialect.encode(message),
            Content::Reply(to, reply) => self.dialect.encode_reply(to, reply),
            Content::Command(publish) => vec![publish.clone()],
            Content::Logged(message, number) => {
                logged = Some(Logged::Queued(message.clone(), *number));
                self.dialect.encode_logged(message, *number).into_iter().collect()
            }
        };
        let is_empty = publishes.is_empty();
        let (unit, _) = queued.replace(Encoded { publishes, asked: None, logged });
        if is_empty {
            self.shared.release(&unit);
            self.give_up(&unit.content).await;
            self.report(request, None).await;
            return None;
        }
        Some(unit)
    }

    /// Sends messages to the nodes that have their slots.
    async fn send(&self, course: &Course, units: impl Iterator<Item = Unit>, held: &mut Held) {
        let before = held.units.len();
        let mut batches: Vec<Batch> = Vec::new();
        let mut turn = Turn::default();
        for unit in units {
            let slot = unit.content.slot();
            let settling = course.settling(slot);
            if !settling.is_zero() {
                held.push(unit, settling);
            } else if let Some(delay) = turn.delay(held, slot, unit.content.asked.as_ref()) {
                held.push(unit, delay);
            } else if let Some(batch) = self.batch(course, &unit, &mut batches) {
                batch.units.push(self.log(unit));
            } else {
                self.hold_unconnected(unit, held).await;
            }
        }
        let sent = batches.into_iter().map(async |mut batch| {
            let results = batch.execute(|units| self.pipeline(units)).await;
            (batch, results)
        });
        let mut refused = Vec::new();
        for (batch, results) in join_all(sent).await {
            match results {
                Ok(results) => self.handle(batch, results, &mut refused, held).await,
                Err(error) => self.lose(batch, &error).await,
            }
        }
        // They come before what follows for their slots.
        let later = held.units.split_off(before);
        for unit in refused {
            let delay = if unit.content.asked.is_some() { Duration::ZERO } else { REFUSED };
            held.push(unit, delay);
        }
        held.units.extend(later);
    }

    /// Returns the batch that a message belongs to, or `None` if its node is not connected.
    fn batch<'a>(&self, course: &Course, unit: &Unit, batches: &'a mut Vec<Batch>) -> Option<&'a mut Batch> {
        let asked = unit.content.asked.clone();
        let node = asked.or_else(|| course.node(unit.content.slot()).cloned())?;
        if let Some(at) = batches.iter().position(|batch| batch.node == node) {
            return batches.get_mut(at);
        }
        let connection = self.nodes.connection(&node)?;
        batches.push(Batch { node, connection, units: Vec::new() });
        batches.last_mut()
    }

    /// Records a message that is delivered when it is read. It keeps its place in the queue until then.
    fn log(&self, mut unit: Unit) -> Unit {
        let Some(log) = &self.log else { return unit };
        match unit.content.logged.take() {
            Some(Logged::Queued(message, number)) => {
                let encoded = Encoded {
                    publishes: std::mem::take(&mut unit.content.publishes),
                    asked: unit.content.asked.take(),
                    logged: Some(Logged::Sent(number)),
                };
                let sent = unit.beside(encoded);
                log.insert(number, unit.replace(message).0);
                sent
            }
            logged => {
                unit.content.logged = logged;
                unit
            }
        }
    }

    /// Returns the commands of several messages.
    fn pipeline(&self, units: &[Unit]) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(units.len());
        pipeline.ignore_errors();
        for Encoded { publishes, asked, .. } in units.iter().map(|unit| &unit.content) {
            for publish in publishes {
                if asked.is_some() {
                    pipeline.cmd("ASKING").ignore();
                }
                pipeline.add_command(publish.command.clone());
                if let Some((_, count)) = &publish.request
                    && !self.is_counted_apart(publish)
                {
                    pipeline.add_command(count.clone());
                }
            }
        }
        pipeline
    }

    /// Returns `true` if the node that executes the command knows only some of the receivers.
    fn is_counted_apart(&self, publish: &Publish) -> bool {
        publish.slot.is_none() && self.nodes.is_cluster()
    }

    /// Holds a message until its node is connected. Requests fail immediately.
    async fn hold_unconnected(&self, mut unit: Unit, held: &mut Held) {
        if unit.content.request().is_some() {
            self.shared.release(&unit);
            self.give_up(&unit.content).await;
            return;
        }
        self.deliver_unlogged(&unit.content).await;
        unit.content.logged = None;
        unit.content.asked = None;
        held.push(unit, UNCONNECTED);
    }

    /// Handles the results of a batch.
    async fn handle(
        &self,
        batch: Batch,
        results: Vec<RedisResult<Value>>,
        refused: &mut Vec<Unit>,
        held: &mut Held,
    ) {
        let mut results = results.into_iter();
        for mut unit in batch.units {
            unit.content.asked = None;
            let slot = unit.content.slot();
            for publish in std::mem::take(&mut unit.content.publishes) {
                let result = results.next().unwrap_or(Ok(Value::Nil));
                let counted = match publish.request {
                    Some(_) if !self.is_counted_apart(&publish) => results.next(),
                    _ => None,
                };
                let error = match result {
                    Ok(received) => {
                        self.report_receivers(publish, &received, counted).await;
                        continue;
                    }
                    Err(error) => error,
                };
                match self.nodes.failed(&batch.node, publish.slot, &error) {
                    Failure::Ask(node) => {
                        unit.content.asked = Some(node);
                        unit.content.publishes.push(publish);
                    }
                    Failure::Refused | Failure::Moved(_) => unit.content.publishes.push(publish),
                    Failure::Final | Failure::Unknown => {
                        self.shared.count_dropped(1);
                        tracing::warn!(%error, messages = 1, "messages to other servers are lost");
                        self.report(publish.request.map(|(request, _)| request), None).await;
                        self.deliver_unlogged(&unit.content).await;
                    }
                }
            }
            if unit.content.publishes.is_empty() {
                self.shared.release(&unit);
                held.set_taken(slot);
            } else {
                refused.push(unit);
            }
        }
    }

    /// Handles the loss of a connection. Whether Redis has executed the commands is unknown. They are not repeated,
    /// because no client may receive an event twice.
    async fn lose(&self, batch: Batch, error: &RedisError) {
        self.nodes.failed(&batch.node, None, error);
        let messages = batch.units.len();
        self.shared.count_dropped(messages);
        for unit in batch.units {
            self.shared.release(&unit);
            self.give_up(&unit.content).await;
        }
        tracing::warn!(%error, messages, "messages to other servers are lost");
    }

    /// Does what remains for a message that is not sent.
    async fn give_up(&self, encoded: &Encoded) {
        self.report(encoded.request().cloned(), None).await;
        self.deliver_unlogged(encoded).await;
    }

    /// Delivers a broadcast that could not be appended to the stream, or that may be there.
    async fn deliver_unlogged(&self, encoded: &Encoded) {
        match (&encoded.logged, &self.log) {
            (Some(Logged::Queued(message, _)), _) => {
                self.inbox.send(Inbound::Logged(message.clone(), None)).await;
            }
            (Some(Logged::Sent(number)), Some(log)) => log.deliver_unlogged(*number, &self.inbox).await,
            _ => {}
        }
    }

    /// Reports the number of servers that have received a request.
    async fn report_receivers(
        &self,
        publish: Publish,
        received: &Value,
        counted: Option<RedisResult<Value>>,
    ) {
        let is_counted_apart = self.is_counted_apart(&publish);
        let Publish { slot, request: Some((request, command)), .. } = publish else { return };
        if is_counted_apart {
            let (nodes, inbox) = (self.nodes.clone(), self.inbox.clone());
            // A node that does not respond does not stop the messages to others.
            tokio::spawn(async move {
                let servers = count(&nodes, &Count { slot, command }).await;
                let others = servers.map(|servers| servers.saturating_sub(1));
                inbox.send(Inbound::ReceiverCount(request, others)).await;
            });
            return;
        }
        // The result of the command is exact, but includes connections that monitor all channels.
        let received = match received {
            Value::Int(received) => usize::try_from(*received).unwrap_or(0),
            _ => usize::MAX,
        };
        let subscribers =
            counted.and_then(Result::ok).as_ref().and_then(subscriber_count).unwrap_or(usize::MAX);
        // This server is one of them.
        let others = received.min(subscribers).saturating_sub(1);
        self.report(Some(request), Some(others)).await;
    }

    async fn report(&self, request: Option<RequestId>, receivers: Option<usize>) {
        if let Some(request) = request {
            self.inbox.send(Inbound::ReceiverCount(request, receivers)).await;
        }
    }
}
