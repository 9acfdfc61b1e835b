//! One client: its packets to the sockets in its namespaces, and the handlers that run for them.

pub(crate) mod connect;
pub(crate) mod membership;
pub(crate) mod partial;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use engineio::{CloseReason, HandshakeRequest, Message, SessionHandle};
use futures::{StreamExt, stream::FuturesUnordered};

use crate::{
    config::ServerConfig,
    connection::{
        membership::{Memberships, QueuedItem, Stage},
        partial::PartialPacket,
    },
    event::{
        handshake::ConnectError,
        legacy::{is_legacy, split_query, unknown_namespace},
        reason::DisconnectReason,
    },
    hub::{acks::AckArgs, socket_core::ConnectionSignals},
    metrics::log::Limit,
    namespace::dispatch::{Done, HandlerFuture, traced},
    proto::{
        args::{ArgsError, RawArgs},
        attachments::resolve,
        json,
        json::MAX_DEPTH,
        packet,
        packet::{Kind, TextPacket, Violation, event_name},
        parser::{Decoding, ParserLimits},
    },
    registry::Namespaces,
};

/// How many events that wait are handled, and how many handlers end, before the task of the session lets others run.
const MAX_AT_ONCE: usize = 64;

/// The Socket.IO side of one session. Only the task of the session has it.
pub(crate) struct Connection {
    namespaces: Arc<Namespaces>,
    config: Arc<ServerConfig>,
    session: SessionHandle,
    request: Arc<HandshakeRequest>,
    signals: Arc<ConnectionSignals>,
    memberships: Memberships,
    partial: Option<Box<PartialPacket>>,
    /// What reads the messages, if that is not the protocol itself.
    decoder: Option<Decoding>,
    /// Handlers that wait for something.
    running: Option<Box<FuturesUnordered<HandlerFuture>>>,
    /// When the connection is closed unless a namespace has been joined.
    join_by: Option<Instant>,
    failed_attempts: usize,
    /// Whether nothing goes on before a message comes or a socket leaves: most wakes are for messages to the client, and
    /// what would be looked at is seldom in the processor's caches.
    is_idle: bool,
    /// The client has broken the protocol: nothing of it is heard any more, while the session ends.
    rejected: bool,
    closed: bool,
}

impl Connection {
    pub(crate) fn new(
        namespaces: Arc<Namespaces>,
        config: Arc<ServerConfig>,
        session: SessionHandle,
        request: Arc<HandshakeRequest>,
    ) -> Self {
        let join_by = tokio::time::Instant::now().into_std() + config.connect_timeout;
        let limits =
            ParserLimits { max_bytes: config.engine.max_http_buffer_size, max_depth: config.max_json_depth };
        let decoder = config.parser.as_deref().map(|parser| Decoding::new(parser, limits));
        let mut connection = Self {
            namespaces,
            config,
            session,
            request,
            signals: Arc::default(),
            memberships: Memberships::default(),
            partial: None,
            decoder,
            running: None,
            join_by: Some(join_by),
            failed_attempts: 0,
            is_idle: false,
            rejected: false,
            closed: false,
        };
        if is_legacy(&connection.session) {
            connection.join_root();
        }
        connection
    }

    /// A version 2 client is in the namespace `/` without asking. The admission begins when the task first runs.
    fn join_root(&mut self) {
        if !self.admit("/", "") {
            // The first attempt is within every limit.
            let _ = self.refuse("/", &unknown_namespace(&self.session));
        }
    }

    fn text(&mut self, text: &str, cx: &mut Context<'_>) -> Result<(), Violation> {
        if self.partial.is_some() {
            return Err(Violation::UnexpectedText);
        }
        let packet = TextPacket::decode(text, self.config.packet_limits())?;
        if packet.kind == Kind::Connect {
            return self.connect(packet.namespace, packet.payload, cx);
        }
        let at = self.known(packet.namespace)?;
        if packet.attachments > 0 {
            let membership = at.map(|at| self.memberships[at].key);
            self.partial = Some(Box::new(PartialPacket::new(&packet, membership)));
            return Ok(());
        }
        self.packet(at, packet.kind, packet.id, packet.payload, Vec::new(), cx)
    }

    fn binary(&mut self, bytes: Bytes, cx: &mut Context<'_>) -> Result<(), Violation> {
        let partial = self.partial.as_mut().ok_or(Violation::UnexpectedBinary)?;
        if !partial.push(bytes, self.config.engine.max_http_buffer_size)? {
            return Ok(());
        }
        let Some(packet) = self.partial.take() else { return Ok(()) };
        let at = packet.membership.and_then(|key| self.memberships.find_present(key));
        self.packet(at, packet.kind, packet.id, &packet.payload, packet.attachments, cx)
    }

    /// Takes a message of another encoding than that of the protocol.
    fn encoded(&mut self, message: Message<'_>, cx: &mut Context<'_>) -> Result<(), Violation> {
        let Some(decoder) = &mut self.decoder else { return Ok(()) };
        let packet = match decoder.decode(message) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::debug!(%error, "undecodable message");
                return Err(Violation::Undecodable);
            }
        };
        let (kind, id, payload) = (packet.kind, packet.id, &*packet.payload);
        packet::check(kind, id, payload)?;
        if kind == Kind::Connect {
            if packet.attachments.is_empty() {
                return self.connect(&packet.namespace, payload, cx);
            }
            return self.refuse(&packet.namespace, &ConnectError::new("auth must not hold binary data"));
        }
        let at = self.known(&packet.namespace)?;
        let attachments = packet.attachments.into_owned();
        let payload = resolve(payload, attachments.len()).map_err(|_| Violation::InvalidPayload)?;
        self.packet(at, kind, id, &payload, attachments, cx)
    }

    /// The stay in the namespace that a packet names; `None` if the client has left it.
    fn known(&self, namespace: &str) -> Result<Option<usize>, Violation> {
        let (path, _) = if is_legacy(&self.session) { split_query(namespace) } else { (namespace, "") };
        let at = self.memberships.find(path);
        if at.is_some() || self.memberships.know(path) { Ok(at) } else { Err(Violation::NotConnected) }
    }

    /// A packet for a namespace that the client is in, or was in until just now.
    fn packet(
        &mut self,
        at: Option<usize>,
        kind: Kind,
        id: Option<u64>,
        payload: &str,
        mut attachments: Vec<Bytes>,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let Some(at) = at else { return Ok(()) };
        let max_depth = self.config.max_json_depth;
        // The highest limit is counted by whoever reads the text.
        if max_depth < MAX_DEPTH && !payload.is_empty() {
            json::check_depth(payload, max_depth).map_err(|_| Violation::InvalidPayload)?;
        }
        let held_back = self.is_held_back();
        let membership = &mut self.memberships[at];
        match kind {
            Kind::Ack => {
                json::check(payload).map_err(|_| Violation::InvalidPayload)?;
                if let (Some(member), Some(id)) = (membership.member(), id) {
                    member.socket().resolve(id, AckArgs { payload: payload.into(), attachments });
                }
                Ok(())
            }
            Kind::Event if membership.may_start(held_back) => {
                self.event(at, id, payload, &mut attachments, cx)
            }
            Kind::Event => {
                // What is wrong with it should show now and not when its turn comes.
                if let Err(violation) = event_name(payload, self.config.max_name_length)
                    && violation != Violation::NameTooLong
                {
                    return Err(violation);
                }
                self.memberships.enqueue(at, QueuedItem::Event { id, payload: payload.into(), attachments });
                Ok(())
            }
            Kind::Disconnect | Kind::Connect | Kind::ConnectError => {
                match &membership.stage {
                    // Events that wait are still handled within the grace.
                    Stage::Open(member) => {
                        member.socket().leave_namespace(DisconnectReason::ClientNamespaceDisconnect);
                    }
                    _ => self.memberships.enqueue(at, QueuedItem::Disconnect),
                }
                self.advance(at, cx)
            }
        }
    }

    /// Starts the handler of an event.
    fn event(
        &mut self,
        at: usize,
        id: Option<u64>,
        payload: &str,
        attachments: &mut [Bytes],
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let (name, args_at) = match event_name(payload, self.config.max_name_length) {
            Ok(name) => name,
            Err(Violation::NameTooLong) => {
                self.memberships[at].member().inspect(|member| member.socket().fail_name(id));
                return Ok(());
            }
            Err(violation) => return Err(violation),
        };
        let raw = RawArgs { payload, args_at, attachments: attachments.into(), asked: id.is_some() };
        let membership = &mut self.memberships[at];
        let Some(member) = membership.member() else { return Ok(()) };
        match member.event(membership.key, &name, id, raw) {
            Ok(Some(handler)) => {
                membership.in_flight += 1;
                let handler = traced(handler, &membership.path, &name);
                self.start(handler, cx)
            }
            Ok(None) => {
                member.socket().warnings().unhandled_event(&membership.path, &name);
                json::check(payload).map_err(|_| Violation::InvalidPayload)
            }
            Err(ArgsError::Malformed) => Err(Violation::InvalidPayload),
            Err(error @ ArgsError::Mismatch(_)) => {
                member.socket().fail_arguments(&name, id, error);
                Ok(())
            }
        }
    }

    /// Runs something up to its first wait, in place; only what waits takes a place among the running.
    fn start(&mut self, mut run: HandlerFuture, cx: &mut Context<'_>) -> Result<(), Violation> {
        match run.as_mut().poll(cx) {
            Poll::Ready(done) => self.finish(&done, cx),
            Poll::Pending => {
                self.running.get_or_insert_default().push(run);
                Ok(())
            }
        }
    }

    fn finish(&mut self, done: &Done, cx: &mut Context<'_>) -> Result<(), Violation> {
        let (Done::Connected(key) | Done::Handled(key) | Done::Disconnected(key)) = *done;
        let Some(at) = self.memberships.find_key(key) else { return Ok(()) };
        match done {
            Done::Handled(_) => {
                self.memberships[at].in_flight -= 1;
                Ok(())
            }
            Done::Connected(_) => {
                self.memberships[at].open();
                self.advance(at, cx)
            }
            Done::Disconnected(_) => {
                self.memberships.remove(at, self.config.max_namespaces);
                Ok(())
            }
        }
    }

    /// Handles events that have waited, and takes the last step of a socket that has left.
    fn advance(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        // A violation must not keep a socket from its last step: after the end of the session, nothing else would.
        let handled = self.handle_waiting(at, cx);
        handled.and(self.leave(at, cx))
    }

    /// Whether no more events of the client are handled for the time being, because it does not read the answers to
    /// those before.
    fn is_held_back(&self) -> bool {
        self.session.is_backlogged() && !self.closed
    }

    fn handle_waiting(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        for _ in 0..MAX_AT_ONCE {
            let Some(waiting) = self.memberships.dequeue(at, self.is_held_back()) else { return Ok(()) };
            match waiting {
                QueuedItem::Event { id, payload, mut attachments } => {
                    if let Err(violation) = self.event(at, id, &payload, &mut attachments, cx) {
                        // What came behind it is not handled.
                        self.memberships.forget(at);
                        return Err(violation);
                    }
                }
                QueuedItem::Disconnect => {
                    if let Some(member) = self.memberships[at].member() {
                        member.socket().leave_namespace(DisconnectReason::ClientNamespaceDisconnect);
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Takes the last step of a socket that has left, once nothing of it runs or waits any more.
    fn leave(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        let grace = self.config.disconnect_grace;
        self.memberships.end_grace(at, grace);
        let Some((member, reason)) = self.memberships.leave(at, grace, self.closed) else { return Ok(()) };
        if let Some(hook) = member.disconnected(self.memberships[at].key, reason) {
            return self.start(hook, cx);
        }
        self.memberships.remove(at, self.config.max_namespaces);
        Ok(())
    }

    /// The client has broken the protocol. Node closes the connection in the same way.
    fn violated(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && !self.closed
        {
            self.namespaces.others.warnings.violation(violation);
            self.rejected = true;
            self.session.close_for_violation();
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) {
        for _ in 0..MAX_AT_ONCE {
            let Some(running) = &mut self.running else { return };
            match running.poll_next_unpin(cx) {
                // The others are looked at all the same: who has been woken already will not be again.
                Poll::Ready(Some(done)) => {
                    let finished = self.finish(&done, cx);
                    self.violated(finished);
                }
                // An idle connection keeps no set.
                Poll::Ready(None) => self.running = None,
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Says whether all rest.
    fn poll_memberships(&mut self, cx: &mut Context<'_>) -> bool {
        let mut rest = true;
        let mut at = 0;
        while at < self.memberships.len() {
            if self.memberships[at].is_idle() {
                at += 1;
                continue;
            }
            rest = false;
            let key = self.memberships[at].key;
            let admitted = self.poll_admission(at, cx);
            self.violated(admitted);
            if self.memberships.get(at).is_some_and(|membership| membership.key == key) {
                let advanced = self.advance(at, cx);
                self.violated(advanced);
            }
            // Another has taken the place of one that was removed.
            if self.memberships.get(at).is_some_and(|membership| membership.key == key) {
                at += 1;
            }
        }
        rest
    }

    /// Disconnects all sockets and ends the session, if one of them has asked for it.
    fn end_if_requested(&mut self) {
        if self.signals.is_requested() && !self.closed {
            self.memberships.members().for_each(|member| member.socket().disconnect());
            self.session.close();
        }
    }
}

impl engineio::Connection for Connection {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        if self.closed || self.rejected || self.signals.is_requested() {
            return;
        }
        self.is_idle = false;
        let result = match message {
            message if self.decoder.is_some() => self.encoded(message, cx),
            Message::Text(text) => self.text(text, cx),
            Message::Binary(bytes) => self.binary(bytes.into_owned().into(), cx),
        };
        self.violated(result);
    }

    fn is_established(&self) -> bool {
        self.join_by.is_none()
    }

    fn ready(&self) -> bool {
        self.memberships.have_room(&self.config)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.end_if_requested();
        if self.signals.take_left() || !self.is_idle {
            self.poll_running(cx);
            self.is_idle = self.poll_memberships(cx) && self.running.is_none();
        }
        if self.memberships.is_empty() && self.running.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn closed(&mut self, reason: CloseReason) {
        self.closed = true;
        self.is_idle = false;
        self.join_by = None;
        self.partial = None;
        self.memberships.end_admissions();
        for member in self.memberships.members() {
            member.socket().leave_namespace(DisconnectReason::Closed(reason));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let grace = if self.is_idle { None } else { self.memberships.deadline() };
        grace.into_iter().chain(self.join_by).min()
    }

    fn timeout(&mut self, now: Instant) {
        if self.join_by.is_some_and(|by| by <= now) {
            self.join_by = None;
            self.namespaces.others.warnings.limit_hit("", Limit::ConnectTimeout);
            self.session.close();
        }
    }
}

impl Drop for Connection {
    /// Also when the task is dropped with its runtime, no socket stays in its namespace.
    fn drop(&mut self) {
        for member in self.memberships.members() {
            member.socket().leave_namespace(DisconnectReason::Closed(CloseReason::ForcedClose));
        }
    }
}
