//! The Socket.IO side of a session.
//!
//! A connection decodes the packets of one client, tracks the memberships of the client in namespaces, and
//! polls the event handlers. This module may import every folder except `server`, `testing` and `typescript`.

mod connect;
mod incoming;
mod membership;
mod partial;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use engineio::{CloseReason, HandshakeRequest, Message, SessionHandle};
use futures::{StreamExt, stream::FuturesUnordered};

use self::{
    membership::{Capacity, Memberships, QueuedItem},
    partial::PartialPacket,
};
use crate::{
    config::ServerConfig,
    event::{
        legacy::{is_legacy, unknown_namespace},
        reason::DisconnectReason,
    },
    hub::socket_core::ConnectionSignals,
    metrics::log::Limit,
    namespace::dispatch::{Completed, HandlerFuture},
    proto::{
        packet::{Violation, event_name},
        parser::{GuardedDecoder, ParserLimits},
    },
    registry::Namespaces,
};

/// The maximum number of queued events that are handled, and of handlers that are completed, before the task
/// yields.
const MAX_AT_ONCE: usize = 64;

/// The interval at which queued events are looked at while the messages to all clients use up too much memory.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The Socket.IO layer of one session, owned by the task of the session.
pub(crate) struct Connection {
    namespaces: Arc<Namespaces>,
    config: Arc<ServerConfig>,
    session: SessionHandle,
    request: Arc<HandshakeRequest>,
    signals: Arc<ConnectionSignals>,
    memberships: Memberships,
    partial: Option<Box<PartialPacket>>,
    /// The decoder of a custom parser. `None` selects the default encoding.
    decoder: Option<GuardedDecoder>,
    /// The handlers that were pending at their first poll. `None` if no handler is running.
    running: Option<Box<FuturesUnordered<HandlerFuture>>>,
    /// The deadline for joining a first namespace. `None` once the client has joined a namespace, or once the
    /// session is closing.
    connect_deadline: Option<Instant>,
    failed_attempts: usize,
    /// The time at which queued events are looked at again, because the messages to all clients use up too much
    /// memory.
    retry_at: Option<Instant>,
    /// The number of the event of this client whose handler has started last and was pending, in
    /// [`HeavyEvents`](crate::registry::heavy_events::HeavyEvents).
    pending_event: Option<u16>,
    /// `true` if nothing can make progress before a message arrives or a socket leaves. Most wake-ups only
    /// flush messages to the client. On such a wake-up, `poll` must not access memory that is rarely in the
    /// processor caches.
    is_idle: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The client has violated the protocol. Its messages are ignored until the session is closed.
    Rejected,
    /// The session is closed. Handlers may still be running.
    Closed,
}

impl Connection {
    pub(crate) fn new(
        namespaces: Arc<Namespaces>,
        config: Arc<ServerConfig>,
        session: SessionHandle,
        request: Arc<HandshakeRequest>,
    ) -> Self {
        let connect_deadline = tokio::time::Instant::now().into_std() + config.connect_timeout;
        let limits = ParserLimits {
            max_bytes: config.engine.get_max_http_buffer_size(),
            max_depth: config.max_json_depth,
        };
        let decoder = config.parser.as_deref().map(|parser| GuardedDecoder::new(parser, limits));
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
            connect_deadline: Some(connect_deadline),
            failed_attempts: 0,
            retry_at: None,
            pending_event: None,
            is_idle: false,
            state: State::Open,
        };
        if is_legacy(&connection.session) {
            connection.join_root();
        }
        connection
    }

    /// Admits a version 2 client to the namespace `/`. Version 2 clients do not send a CONNECT packet for
    /// this namespace.
    fn join_root(&mut self) {
        if !self.admit("/", "") {
            // Ignore the error, because one failed attempt does not violate the protocol.
            let _ = self.send_connect_error("/", &unknown_namespace(&self.session));
        }
    }

    /// Polls a handler once. Adds the handler to the running handlers only if it is pending.
    fn start(&mut self, mut run: HandlerFuture, cx: &mut Context<'_>) -> Result<(), Violation> {
        match run.as_mut().poll(cx) {
            Poll::Ready(done) => self.finish(&done, cx),
            Poll::Pending => {
                self.running.get_or_insert_default().push(run);
                Ok(())
            }
        }
    }

    fn finish(&mut self, done: &Completed, cx: &mut Context<'_>) -> Result<(), Violation> {
        let (Completed::Connected(key) | Completed::Handled(key) | Completed::Disconnected(key)) = *done;
        let Some(at) = self.memberships.find_key(key) else { return Ok(()) };
        match done {
            Completed::Handled(_) => {
                self.memberships[at].in_flight -= 1;
                if let Some(event) = self.pending_event
                    && self.session.is_heavy()
                {
                    self.pending_event = None;
                    self.namespaces.heavy_events.insert(event);
                }
                Ok(())
            }
            Completed::Connected(_) => {
                self.memberships[at].open();
                self.advance(at, cx)
            }
            Completed::Disconnected(_) => {
                self.remove(at);
                Ok(())
            }
        }
    }

    /// Handles queued events, and finishes the removal of a socket that has left.
    fn advance(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        // Call `leave` even after a violation, because nothing else finishes the removal of the socket.
        let handled = self.handle_queued(at, cx);
        handled.and(self.leave(at, cx))
    }

    /// Returns the handlers that may start. None start while the client has not read the replies to earlier events, or
    /// while the clients together have not and the next event may add much.
    fn capacity(&mut self, is_heavy: impl FnOnce(&Self) -> bool) -> Capacity {
        if self.state != State::Closed {
            if self.session.is_backlogged() || self.signals.has_waiting_acks() {
                return Capacity::None;
            }
            if self.session.is_congested(|| is_heavy(self)) {
                let now = tokio::time::Instant::now().into_std();
                self.retry_at.get_or_insert(now + RETRY_INTERVAL);
                return Capacity::None;
            }
        }
        let running = self.running.as_ref().map_or(0, |running| running.len());
        if running < self.config.max_pending_acks { Capacity::Full } else { Capacity::InFlight }
    }

    /// Returns `true` if the event with this payload has made a client heavy lately.
    fn is_heavy(&self, payload: &str) -> bool {
        event_name(payload, self.config.max_name_length)
            .is_ok_and(|(name, _)| self.namespaces.heavy_events.contains(&name))
    }

    fn handle_queued(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        for _ in 0..MAX_AT_ONCE {
            let is_heavy =
                |this: &Self| this.memberships.next_event(at).is_some_and(|next| this.is_heavy(next));
            let capacity = self.capacity(is_heavy);
            let Some(item) = self.memberships.dequeue(at, capacity) else { return Ok(()) };
            match item {
                QueuedItem::Event { id, payload, mut attachments } => {
                    if let Err(violation) = self.event(at, id, &payload, &mut attachments, cx) {
                        // Discard the packets that were queued after the violation.
                        self.memberships.clear_queue(at);
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

    /// Finishes the removal of a socket that has left, once its handlers have returned and its queue is
    /// empty, or once the grace period is over.
    fn leave(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        let grace = self.config.disconnect_grace;
        self.memberships.end_grace(at, grace);
        let Some((member, reason)) = self.memberships.leave(at, grace, self.state == State::Closed) else {
            return Ok(());
        };
        if let Some(hook) = member.disconnected(self.memberships[at].key, reason) {
            return self.start(hook, cx);
        }
        self.remove(at);
        Ok(())
    }

    /// Removes the membership of a client that has left.
    fn remove(&mut self, at: usize) {
        if self.state == State::Closed {
            // No packets follow.
            self.memberships.drop_membership(at);
        } else {
            self.memberships.remove(at, self.config.max_namespaces);
        }
    }

    /// Closes the session after a violation, as Node.js does.
    fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && self.state != State::Closed
        {
            self.namespaces.unknown.warnings.violation(violation);
            self.state = State::Rejected;
            self.session.close_for_violation();
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) {
        for _ in 0..MAX_AT_ONCE {
            let Some(running) = &mut self.running else { return };
            match running.poll_next_unpin(cx) {
                // Continue polling, because handlers that were already woken do not wake the task again.
                Poll::Ready(Some(done)) => {
                    let finished = self.finish(&done, cx);
                    self.check(finished);
                }
                // Deallocate the set, because an idle connection does not need it.
                Poll::Ready(None) => self.running = None,
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Polls the memberships. Returns `true` if all memberships are idle.
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
            self.check(admitted);
            if self.memberships.get(at).is_some_and(|membership| membership.key == key) {
                let advanced = self.advance(at, cx);
                self.check(advanced);
            }
            // `remove` moves the last membership to the index of the removed membership.
            if self.memberships.get(at).is_some_and(|membership| membership.key == key) {
                at += 1;
            }
        }
        rest
    }

    /// Disconnects all sockets and closes the session, if a socket has requested to close the connection.
    fn end_if_requested(&mut self) {
        if self.signals.close_requested() && self.state != State::Closed {
            self.memberships.members().for_each(|member| member.socket().disconnect());
            self.session.close();
        }
    }
}

impl engineio::Connection for Connection {
    fn on_message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        if self.state == State::Open && !self.signals.close_requested() {
            self.is_idle = false;
            self.receive(message, cx);
        }
    }

    fn is_established(&self) -> bool {
        self.connect_deadline.is_none()
    }

    fn is_ready(&self) -> bool {
        self.memberships.have_room(&self.config)
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.end_if_requested();
        if self.signals.take_socket_left() || !self.is_idle {
            self.poll_running(cx);
            self.is_idle = self.poll_memberships(cx) && self.running.is_none();
        }
        if self.memberships.is_empty() && self.running.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn on_close(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.is_idle = false;
        self.connect_deadline = None;
        self.retry_at = None;
        self.partial = None;
        self.memberships.end_admissions();
        for member in self.memberships.members() {
            member.socket().leave_namespace(DisconnectReason::Closed(reason));
        }
        if reason == CloseReason::SlowConsumer {
            // The client has not read the replies to its earlier events.
            self.memberships.clear_queues();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let busy = if self.is_idle {
            None
        } else {
            self.memberships.deadline().into_iter().chain(self.retry_at).min()
        };
        busy.into_iter().chain(self.connect_deadline).min()
    }

    fn on_timeout(&mut self, now: Instant) {
        self.retry_at.take_if(|at| *at <= now);
        if self.connect_deadline.is_some_and(|by| by <= now) {
            self.connect_deadline = None;
            self.namespaces.unknown.warnings.limit_hit("", Limit::ConnectTimeout);
            self.session.close();
        }
    }
}

impl Drop for Connection {
    /// Removes the sockets from their namespaces, in case the task is dropped by its runtime before the
    /// session is closed.
    fn drop(&mut self) {
        for member in self.memberships.members() {
            member.socket().leave_namespace(DisconnectReason::Closed(CloseReason::ForcedClose));
        }
    }
}
