//! Executes the requests of other servers of the cluster.

use std::{
    collections::HashMap,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};

use crate::{
    hub::{
        Adapter, Flags,
        ack_collector::{AckCollector, PendingBroadcast},
        cluster::{
            BroadcastFlags, Cluster, EventPacket, Inbound, LogOffset, Message, Operation, ReplyBody,
            RequestId, ServerId, backend::InboxReceiver,
        },
        rooms::Target,
    },
    proto::{args::RawArgs, encode::Frames, packet::event_name},
    registry::Namespaces,
};

/// The server that sent a request, and the id of the request.
type Key = (ServerId, RequestId);
type Running = Pin<Box<dyn Future<Output = Option<Key>> + Send>>;

/// A broadcast of another server whose acknowledgements are being collected.
struct Gathering {
    id: u64,
    outcomes: Arc<AckCollector>,
    forward: AbortHandle,
}

impl Gathering {
    /// Stops collecting, and removes the pending acknowledgements.
    fn give_up(&self) {
        self.forward.abort();
        self.outcomes.cancel(self.id);
    }
}

/// The task that executes the requests of other servers in the order in which they arrive.
pub(crate) struct Worker {
    cluster: Arc<Cluster>,
    namespaces: Arc<Namespaces>,
    /// Long-running requests. They are executed concurrently.
    running: FuturesUnordered<Running>,
    max_running: usize,
    /// The requests in `running` that collect acknowledgements.
    gatherings: HashMap<Key, Gathering>,
}

impl Worker {
    pub(crate) fn new(cluster: Arc<Cluster>, namespaces: Arc<Namespaces>, max_running: usize) -> Self {
        let (running, gatherings) = (FuturesUnordered::new(), HashMap::new());
        Self { cluster, namespaces, running, max_running, gatherings }
    }

    /// Runs until the server leaves the cluster.
    pub(crate) async fn run(mut self, mut inbox: InboxReceiver) {
        let cluster = self.cluster.clone();
        let mut left = pin!(cluster.left());
        loop {
            tokio::select! {
                // Use `biased` to read queued responses first, because a server may have responded before it
                // left.
                biased;
                inbound = inbox.inbound.recv() => {
                    let Some(inbound) = inbound else { break };
                    let is_join = inbound.is_join();
                    self.handle(inbound);
                    inbox.handled(is_join);
                }
                Ok(()) = inbox.servers.changed() => self.servers_changed(),
                // The backend may keep its `Inbox`, so the queue is not closed.
                () = &mut left => break,
                Some(key) = self.running.next(), if !self.running.is_empty() => {
                    if let Some(key) = key {
                        self.gatherings.remove(&key);
                    }
                }
            }
        }
    }

    fn handle(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Message(message) => self.message(&message),
            Inbound::Logged(message, offset) => self.logged(&message, offset),
            Inbound::Reply(reply) => self.cluster.answered(reply),
            Inbound::ReceiverCount(request, count) => self.cluster.receiver_count(&request, count),
            Inbound::ServerGone { namespace, server, is_lost } => {
                self.cluster.server_gone(&namespace, &server, is_lost);
                self.abandon_absent();
            }
        }
    }

    fn message(&mut self, message: &Message) {
        let Message { from, namespace, operation } = message;
        if let Operation::CancelAcks { request } = operation {
            if let Some(gathering) = self.gatherings.remove(&(from.clone(), request.clone())) {
                gathering.give_up();
            }
            return;
        }
        let adapter = self.namespaces.adapter(namespace);
        match (operation, adapter) {
            (Operation::Broadcast { target, packet, flags }, Some(adapter)) => {
                broadcast(&adapter, target, packet, *flags);
            }
            (Operation::BroadcastWithAck { request, target, packet, flags, timeout }, Some(adapter))
                if !self.is_full() =>
            {
                let id = adapter.next_ack();
                let (packet, flags) = (packet.0.with_id(namespace, id), delivery_flags(*flags));
                if let Some(packet) = translate(&adapter, packet, Some(id), flags) {
                    let pending = adapter.deliver_with_ack(target, &packet, id, flags);
                    // The requesting server may wait longer than it has announced.
                    let timeout = adapter.config.ack_timeout.max(*timeout);
                    self.gather((from.clone(), request.clone()), namespace, pending, timeout);
                }
            }
            (Operation::BroadcastWithAck { request, .. }, None) => {
                self.cluster.reply(from, namespace, request, ReplyBody::Recipients(Vec::new()));
            }
            (Operation::Join { target, rooms }, Some(adapter)) => {
                if let Err(error) = adapter.join(target, rooms) {
                    engineio::__log!(warn, namespace = &**namespace, %error, "not all sockets joined");
                }
            }
            (Operation::Leave { target, rooms }, Some(adapter)) => adapter.leave(target, rooms),
            (Operation::Disconnect { target, close }, Some(adapter)) => adapter.disconnect(target, *close),
            (Operation::Fetch { request, target }, adapter) => {
                let found = adapter.map_or_else(Vec::new, |adapter| adapter.summaries(target));
                self.cluster.reply(from, namespace, request, ReplyBody::Sockets(found));
            }
            (Operation::ServerEvent { request, packet }, adapter) => {
                let started = adapter
                    .is_some_and(|adapter| self.server_event(&adapter, message, request.as_ref(), packet));
                if let (false, Some(request)) = (started, request) {
                    self.cluster.reply(from, namespace, request, ReplyBody::Answer(None));
                }
            }
            (Operation::BroadcastWithAck { .. }, Some(_)) => {
                engineio::__log!(warn, server = %from, "too much runs for other servers: not taking part");
            }
            (Operation::CancelAcks { .. }, _) | (_, None) => {}
        }
    }

    fn logged(&self, message: &Message, offset: Option<LogOffset>) {
        let adapter = self.namespaces.adapter(&message.namespace);
        if let (Operation::Broadcast { target, packet, flags }, Some(adapter)) = (&message.operation, adapter)
            && let Err(error) = adapter.deliver_logged(target, &packet.0, delivery_flags(*flags), offset)
        {
            engineio::__log!(warn, namespace = adapter.path(), %error, "an event is lost");
        }
    }

    fn is_full(&self) -> bool {
        self.running.len() >= self.max_running
    }

    /// Forwards each acknowledgement to the requesting server. Acknowledgements that are ready at the same
    /// time are forwarded as one batch.
    fn gather(
        &mut self,
        (server, request): Key,
        namespace: &Arc<str>,
        mut pending: PendingBroadcast,
        timeout: Duration,
    ) {
        let recipients = ReplyBody::Recipients(pending.outcomes.recipients());
        self.cluster.reply(&server, namespace, &request, recipients);
        let (abort, registration) = AbortHandle::new_pair();
        let (id, outcomes) = (pending.id, pending.outcomes.clone());
        self.gatherings.insert((server.clone(), request.clone()), Gathering { id, outcomes, forward: abort });
        let (cluster, namespace) = (self.cluster.clone(), namespace.clone());
        self.running.push(Box::pin(async move {
            let forward = async {
                while let Some(outcomes) = pending.next_batch().await {
                    cluster.reply(&server, &namespace, &request, ReplyBody::Outcomes(outcomes));
                }
            };
            // The end of the forwarding, by any reason, drops the pending acknowledgements.
            let _ = Abortable::new(tokio::time::timeout(timeout, forward), registration).await;
            Some((server, request))
        }));
    }

    /// Starts the handler of a server event. Returns `false` if the event has no handler, or if too many
    /// requests are running.
    fn server_event(
        &mut self,
        adapter: &Arc<Adapter>,
        message: &Message,
        request: Option<&RequestId>,
        packet: &EventPacket,
    ) -> bool {
        if self.is_full() {
            engineio::__log!(warn, server = %message.from, "too much runs for other servers: a server event is lost");
            return false;
        }
        let (payload, mut attachments) = packet.parts(&message.namespace);
        let Ok((name, args_offset)) = event_name(payload, adapter.config.max_name_length) else {
            return false;
        };
        let attachments = attachments.as_mut_slice().into();
        let raw = RawArgs { payload, args_offset, attachments, wants_ack: request.is_some() };
        let Some(handling) = adapter.server_event(&name, raw) else { return false };
        let (cluster, from, namespace) =
            (self.cluster.clone(), message.from.clone(), message.namespace.clone());
        let request = request.cloned();
        self.running.push(Box::pin(async move {
            let answer = handling.await;
            if let Some(request) = request {
                cluster.reply(&from, &namespace, &request, ReplyBody::Answer(answer));
            }
            None
        }));
        true
    }

    fn servers_changed(&mut self) {
        self.cluster.servers_changed();
        self.abandon_absent();
    }

    /// Stops collecting acknowledgements for servers that are not present.
    fn abandon_absent(&mut self) {
        let present = self.cluster.servers();
        for (_, gathering) in
            self.gatherings.extract_if(|(server, _), _| !server.is_unknown() && !present.contains(server))
        {
            gathering.give_up();
        }
    }
}

/// Returns the function that delivers the broadcasts of other servers, and returns `false` for other messages.
pub(crate) fn deliver(namespaces: &Arc<Namespaces>) -> impl Fn(&Message) -> bool + Send + Sync + use<> {
    let namespaces = Arc::downgrade(namespaces);
    move |message| {
        let Operation::Broadcast { target, packet, flags } = &message.operation else { return false };
        let namespaces = namespaces.upgrade();
        if let Some(adapter) = namespaces.and_then(|namespaces| namespaces.adapter(&message.namespace)) {
            broadcast(&adapter, target, packet, *flags);
        }
        true
    }
}

fn delivery_flags(BroadcastFlags { volatile, uncompressed }: BroadcastFlags) -> Flags {
    Flags { volatile, uncompressed, local: true }
}

fn broadcast(adapter: &Adapter, target: &Target, packet: &EventPacket, flags: BroadcastFlags) {
    let flags = delivery_flags(flags);
    let packet = translate(adapter, packet.0.clone(), None, flags);
    if let Some(Err(error)) = packet.map(|packet| adapter.deliver(target, &packet, flags)) {
        engineio::__log!(warn, namespace = adapter.path(), %error, "an event of another server is lost");
    }
}

/// Encodes an event of another server for the clients of this server. Returns `None` if encoding fails; for a
/// broadcast with acknowledgements, the requesting server then reports this server as missing.
fn translate(adapter: &Adapter, packet: Frames, id: Option<u64>, flags: Flags) -> Option<Frames> {
    match adapter.encoder().translate(packet, id) {
        Ok(packet) => Some(flags.apply_to(packet)),
        Err(error) => {
            engineio::__log!(warn, namespace = adapter.path(), %error, "an event of another server is lost");
            None
        }
    }
}

impl Drop for Worker {
    /// Leaves the cluster. This also happens when the task is dropped with its runtime, so no server waits
    /// for this server.
    fn drop(&mut self) {
        drop(self.cluster.leave());
    }
}
