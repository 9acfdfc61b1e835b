//! One client: its packets to the sockets in its namespaces, and the handlers that run for them.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use engineio::{CloseReason, Message, OpenRequest, SessionHandle};
use futures::{StreamExt, stream::FuturesUnordered};

use crate::{
    ack::AckArgs,
    config::ServerConfig,
    dispatch::{Admission, Done, Endpoint, Key, Member, Running},
    error::EventError,
    handshake::{Handshake, Refuse},
    legacy::{auth_of_query, is_legacy, split_query, unknown_namespace},
    namespaces::Namespaces,
    proto::{
        args::{ArgsError, RawArgs, check},
        encode::Encoder,
        json,
        packet::{self, Kind, MAX_NAME, TextPacket, Violation, event_name},
        parser::{Decoder, Limits},
    },
    reason::DisconnectReason,
    socket::Ending,
};

/// How many events of a client may wait for their handlers; then the connection stops reading.
const MAX_WAITING: usize = 64;
/// How many bytes they may have together.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// The Socket.IO side of one session. Only the task of the session has it.
pub(crate) struct Connection {
    namespaces: Arc<Namespaces>,
    config: Arc<ServerConfig>,
    session: SessionHandle,
    request: Arc<OpenRequest>,
    ending: Arc<Ending>,
    /// Where the client is, or wants to be. Few, so they are looked up one by one.
    stays: Vec<Stay>,
    /// The paths of namespaces that the client has left: packets for them may still be on their way.
    left: Vec<Box<str>>,
    partial: Option<Box<Partial>>,
    /// What reads the messages, if that is not the protocol itself.
    decoder: Option<Box<dyn Decoder>>,
    /// Handlers that wait for something.
    running: Option<Box<FuturesUnordered<Running>>>,
    /// When the connection is closed unless a namespace has been joined.
    join_by: Option<Instant>,
    waiting: usize,
    waiting_bytes: usize,
    failed_attempts: usize,
    next_key: Key,
    /// The client has broken the protocol: nothing of it is heard any more, while the session ends.
    turned_away: bool,
    closed: bool,
}

/// A client in a namespace, from its CONNECT to the end of its last handler.
struct Stay {
    key: Key,
    path: Box<str>,
    stage: Stage,
    /// Events that came before they could be handled.
    queue: VecDeque<Waiting>,
    in_flight: usize,
    /// When the end is not put off any longer for handlers that still run.
    grace: Option<Instant>,
}

enum Stage {
    /// The namespace decides whether the client may come in. Dropped with the connection.
    Admitting(Admission),
    /// The hook for new sockets runs; events wait.
    Connecting(Box<dyn Member>),
    /// Events are handled.
    Open(Box<dyn Member>),
    /// The hook for sockets that have left runs.
    Leaving,
}

enum Waiting {
    Event { id: Option<u64>, payload: Box<str>, attachments: Vec<Bytes> },
    Disconnect,
}

impl Waiting {
    fn len(&self) -> usize {
        match self {
            Self::Event { payload, attachments, .. } => {
                payload.len() + attachments.iter().map(Bytes::len).sum::<usize>()
            }
            Self::Disconnect => 0,
        }
    }
}

/// A packet whose attachments have not all come yet.
struct Partial {
    kind: Kind,
    path: Box<str>,
    id: Option<u64>,
    payload: Box<str>,
    missing: usize,
    bytes: usize,
    attachments: Vec<Bytes>,
}

impl Connection {
    pub(crate) fn new(
        namespaces: Arc<Namespaces>,
        config: Arc<ServerConfig>,
        session: SessionHandle,
        request: Arc<OpenRequest>,
    ) -> Self {
        let join_by = tokio::time::Instant::now().into_std() + config.connect_timeout;
        let max_bytes = config.engine.max_http_buffer_size;
        let limits = Limits { max_bytes, ..Limits::default() };
        let decoder = config.parser.as_ref().map(|parser| parser.decoder(limits));
        let mut connection = Self {
            namespaces,
            config,
            session,
            request,
            ending: Arc::default(),
            stays: Vec::new(),
            left: Vec::new(),
            partial: None,
            decoder,
            running: None,
            join_by: Some(join_by),
            waiting: 0,
            waiting_bytes: 0,
            failed_attempts: 0,
            next_key: 0,
            turned_away: false,
            closed: false,
        };
        if is_legacy(&connection.session) {
            connection.join_root();
        }
        connection
    }

    /// A version 2 client is in the namespace `/` without asking. The admission begins when the task first runs.
    fn join_root(&mut self) {
        match self.namespaces.find("/") {
            Some(root) => self.admit(root, "/", ""),
            None => {
                // The first attempt is within every limit.
                let _ = self.refuse("/", &unknown_namespace(&self.session));
            }
        }
    }

    fn text(&mut self, text: &str, cx: &mut Context<'_>) -> Result<(), Violation> {
        if self.partial.is_some() {
            return Err(Violation::UnexpectedText);
        }
        let mut packet = TextPacket::decode(text)?;
        if packet.kind == Kind::Connect {
            return self.connect(packet.namespace, packet.payload, cx);
        }
        packet.namespace = self.known(packet.namespace)?;
        if packet.attachments > 0 {
            self.partial = Some(Box::new(Partial {
                kind: packet.kind,
                path: packet.namespace.into(),
                id: packet.id,
                payload: packet.payload.into(),
                missing: packet.attachments,
                bytes: 0,
                attachments: Vec::new(),
            }));
            return Ok(());
        }
        self.packet(packet.kind, packet.namespace, packet.id, packet.payload, Vec::new(), cx)
    }

    fn binary(&mut self, bytes: Bytes, cx: &mut Context<'_>) -> Result<(), Violation> {
        let partial = self.partial.as_mut().ok_or(Violation::UnexpectedBinary)?;
        partial.bytes += bytes.len();
        if partial.bytes > self.config.engine.max_http_buffer_size {
            return Err(Violation::TooLarge);
        }
        partial.attachments.push(bytes);
        partial.missing -= 1;
        if partial.missing > 0 {
            return Ok(());
        }
        let Some(packet) = self.partial.take() else { return Ok(()) };
        let raw =
            RawArgs { payload: &packet.payload, args_at: 1, attachments: &packet.attachments, asked: false };
        check(raw).map_err(|_| Violation::InvalidPayload)?;
        self.packet(packet.kind, &packet.path, packet.id, &packet.payload, packet.attachments, cx)
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
            return self.refuse(&packet.namespace, &Refuse::new("auth must not hold binary data"));
        }
        let path = self.known(&packet.namespace)?;
        let attachments = packet.attachments.into_owned();
        if !attachments.is_empty() {
            let raw = RawArgs { payload, args_at: 1, attachments: &attachments, asked: false };
            check(raw).map_err(|_| Violation::InvalidPayload)?;
        }
        self.packet(kind, path, id, payload, attachments, cx)
    }

    /// The path of a namespace that the client is in, or was in, from the name in a packet.
    fn known<'a>(&self, namespace: &'a str) -> Result<&'a str, Violation> {
        if self.knows(namespace) {
            return Ok(namespace);
        }
        let (path, _) = split_query(namespace);
        if is_legacy(&self.session) && self.knows(path) { Ok(path) } else { Err(Violation::NotConnected) }
    }

    /// A client wants to join a namespace.
    fn connect(&mut self, namespace: &str, auth: &str, cx: &mut Context<'_>) -> Result<(), Violation> {
        if is_legacy(&self.session) {
            let (path, query) = split_query(namespace);
            return self.join(path, &auth_of_query(query), cx);
        }
        if namespace.len() > MAX_NAME {
            return Err(Violation::NameTooLong);
        }
        if !auth.is_empty() && json::check(auth, 0).is_err() {
            return Err(Violation::InvalidPayload);
        }
        self.join(namespace, auth, cx)
    }

    fn join(&mut self, path: &str, auth: &str, cx: &mut Context<'_>) -> Result<(), Violation> {
        if let Some(at) = self.stays.iter().position(|stay| &*stay.path == path && !stay.has_left()) {
            if !matches!(self.stays[at].stage, Stage::Admitting(_)) {
                return Err(Violation::ConnectedTwice);
            }
            // The official client takes a CONNECT back without a word and asks again, as React does in development:
            // the newest counts, and the one before is dropped.
            self.drop_stay(at);
            self.count_attempt()?;
        }
        if self.stays.len() >= self.config.max_namespaces {
            return self.refuse(path, &Refuse::new("too many namespaces"));
        }
        let Some(endpoint) = self.namespaces.find(path) else {
            return self.refuse(path, &unknown_namespace(&self.session));
        };
        self.admit(endpoint, path, auth);
        self.poll_admission(self.stays.len() - 1, cx)
    }

    /// Begins to ask a namespace whether the client may come in.
    fn admit(&mut self, endpoint: Arc<dyn Endpoint>, path: &str, auth: &str) {
        let handshake = Handshake::new(self.request.clone(), auth);
        let admission = endpoint.admit(handshake, self.session.clone(), self.ending.clone());
        let key = self.next_key;
        self.next_key = key.wrapping_add(1);
        self.left.retain(|left| &**left != path);
        let stage = Stage::Admitting(admission);
        // Most clients are in one namespace: a vector would take room for four at once.
        self.stays.reserve_exact(1);
        self.stays.push(Stay {
            key,
            path: path.into(),
            stage,
            queue: VecDeque::new(),
            in_flight: 0,
            grace: None,
        });
    }

    /// Counts an attempt to join that led to nothing.
    fn count_attempt(&mut self) -> Result<(), Violation> {
        self.failed_attempts += 1;
        if self.failed_attempts > self.config.max_connect_attempts {
            return Err(Violation::TooManyAttempts);
        }
        Ok(())
    }

    fn refuse(&mut self, path: &str, refuse: &Refuse) -> Result<(), Violation> {
        self.count_attempt()?;
        let encoder = Encoder { namespace: path, parser: self.config.parser.as_deref() };
        let encode =
            if is_legacy(&self.session) { Encoder::connect_error_legacy } else { Encoder::connect_error };
        if let Ok(frames) = encode(encoder, refuse.message(), refuse.details()) {
            // A session that has ended needs no answer.
            let _ = self.session.send(frames.as_slice());
        }
        Ok(())
    }

    /// Goes on with an admission, and puts the client into the namespace once it is admitted.
    fn poll_admission(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        let stay = &mut self.stays[at];
        let Stage::Admitting(admission) = &mut stay.stage else { return Ok(()) };
        let Poll::Ready(admitted) = admission.as_mut().poll(cx) else { return Ok(()) };
        let member = match admitted {
            Ok(member) => member,
            Err(refuse) => {
                let path = self.drop_stay(at);
                return self.refuse(&path, &refuse);
            }
        };
        if !member.enter() {
            self.drop_stay(at);
            return Ok(());
        }
        self.join_by = None;
        let hook = member.connected(stay.key);
        stay.stage = match hook {
            Some(_) => Stage::Connecting(member),
            None => Stage::Open(member),
        };
        match hook {
            Some(hook) => self.start(hook, cx),
            None => self.advance(at, cx),
        }
    }

    /// A packet for a namespace that the client is in, or was in until just now.
    fn packet(
        &mut self,
        kind: Kind,
        path: &str,
        id: Option<u64>,
        payload: &str,
        attachments: Vec<Bytes>,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let Some(at) = self.stays.iter().position(|stay| &*stay.path == path && !stay.has_left()) else {
            return Ok(());
        };
        let stay = &mut self.stays[at];
        match kind {
            Kind::Ack => {
                let raw = RawArgs { payload, args_at: 1, attachments: &attachments, asked: false };
                check(raw).map_err(|_| Violation::InvalidPayload)?;
                if let (Some(member), Some(id)) = (stay.member(), id) {
                    member.socket().resolve(id, AckArgs { payload: payload.into(), attachments });
                }
                Ok(())
            }
            Kind::Event if stay.may_start() => self.event(at, id, payload, &attachments, cx),
            Kind::Event => {
                // What is wrong with it should show now and not when its turn comes.
                event_name(payload)?;
                self.enqueue(at, Waiting::Event { id, payload: payload.into(), attachments });
                Ok(())
            }
            Kind::Disconnect | Kind::Connect | Kind::ConnectError => {
                self.enqueue(at, Waiting::Disconnect);
                self.advance(at, cx)
            }
        }
    }

    fn enqueue(&mut self, at: usize, waiting: Waiting) {
        self.waiting += 1;
        self.waiting_bytes += waiting.len();
        self.stays[at].queue.push_back(waiting);
    }

    fn dequeue(&mut self, at: usize) -> Option<Waiting> {
        let stay = &mut self.stays[at];
        if !stay.may_dequeue() {
            return None;
        }
        let waiting = stay.queue.pop_front()?;
        self.waiting -= 1;
        self.waiting_bytes -= waiting.len();
        if stay.queue.is_empty() {
            stay.queue = VecDeque::new();
        }
        Some(waiting)
    }

    /// Gives up events that will not be handled.
    fn forget(&mut self, queue: &VecDeque<Waiting>) {
        self.waiting -= queue.len();
        self.waiting_bytes -= queue.iter().map(Waiting::len).sum::<usize>();
    }

    /// Starts the handler of an event.
    fn event(
        &mut self,
        at: usize,
        id: Option<u64>,
        payload: &str,
        attachments: &[Bytes],
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let (name, args_at) = event_name(payload)?;
        let raw = RawArgs { payload, args_at, attachments, asked: id.is_some() };
        let stay = &mut self.stays[at];
        let Some(member) = stay.member() else { return Ok(()) };
        match member.event(stay.key, &name, id, raw) {
            Ok(Some(handler)) => {
                stay.in_flight += 1;
                self.start(handler, cx)
            }
            Ok(None) => {
                tracing::debug!(namespace = &*stay.path, "event without a handler");
                check(raw).map_err(|_| Violation::InvalidPayload)
            }
            Err(ArgsError::Malformed) => Err(Violation::InvalidPayload),
            Err(ArgsError::Mismatch(error)) => {
                let error = EventError::public(format!("invalid arguments: {error}"));
                member.socket().fail(&name, id, &error);
                Ok(())
            }
        }
    }

    /// Runs something up to its first wait, in place; only what waits takes a place among the running.
    fn start(&mut self, mut run: Running, cx: &mut Context<'_>) -> Result<(), Violation> {
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
        let Some(at) = self.stays.iter().position(|stay| stay.key == key) else { return Ok(()) };
        match done {
            Done::Handled(_) => {
                self.stays[at].in_flight -= 1;
                Ok(())
            }
            Done::Connected(_) => {
                let stage = std::mem::replace(&mut self.stays[at].stage, Stage::Leaving);
                if let Stage::Connecting(member) = stage {
                    self.stays[at].stage = Stage::Open(member);
                }
                self.advance(at, cx)
            }
            Done::Disconnected(_) => {
                self.remove(at);
                Ok(())
            }
        }
    }

    /// Handles events that have waited, and takes the last step of a socket that has left.
    fn advance(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        while let Some(waiting) = self.dequeue(at) {
            match waiting {
                Waiting::Event { id, payload, attachments } => {
                    self.event(at, id, &payload, &attachments, cx)?;
                }
                Waiting::Disconnect => {
                    if let Some(member) = self.stays[at].member() {
                        member.socket().leave_namespace(DisconnectReason::ClientNamespaceDisconnect);
                    }
                }
            }
        }
        self.end_grace(at);
        let stay = &mut self.stays[at];
        let Stage::Open(member) = &stay.stage else { return Ok(()) };
        let Some(reason) = member.socket().left() else { return Ok(()) };
        if reason != DisconnectReason::ClientNamespaceDisconnect && !self.closed {
            // The server has turned away from this client: what it still wanted is not done any more.
            let queue = std::mem::take(&mut stay.queue);
            self.forget(&queue);
        }
        let stay = &mut self.stays[at];
        if (stay.in_flight > 0 || !stay.queue.is_empty()) && !stay.grace_is_over(self.config.disconnect_grace)
        {
            return Ok(());
        }
        stay.grace = None;
        let Stage::Open(member) = std::mem::replace(&mut stay.stage, Stage::Leaving) else { return Ok(()) };
        if let Some(hook) = member.disconnected(stay.key, reason) {
            return self.start(hook, cx);
        }
        self.remove(at);
        Ok(())
    }

    /// Puts an end to handlers and connect hooks that hang, for a client that leaves or has left.
    fn end_grace(&mut self, at: usize) {
        let grace = self.config.disconnect_grace;
        let stay = &mut self.stays[at];
        let Some(socket) = stay.member().map(Member::socket) else { return };
        let leaves = matches!(stay.queue.back(), Some(Waiting::Disconnect));
        let is_connecting = matches!(stay.stage, Stage::Connecting(_));
        if !(leaves || (is_connecting && socket.left().is_some())) || !stay.grace_is_over(grace) {
            return;
        }
        let queue = std::mem::take(&mut stay.queue);
        let stage = std::mem::replace(&mut stay.stage, Stage::Leaving);
        stay.stage = match stage {
            Stage::Connecting(member) => Stage::Open(member),
            stage => stage,
        };
        self.forget(&queue);
        socket.leave_namespace(DisconnectReason::ClientNamespaceDisconnect);
    }

    /// Removes a stay with all that waits; gives back its path.
    fn drop_stay(&mut self, at: usize) -> Box<str> {
        let stay = self.stays.swap_remove(at);
        self.forget(&stay.queue);
        stay.path
    }

    /// Removes the stay of a client that was in the namespace.
    fn remove(&mut self, at: usize) {
        let path = self.drop_stay(at);
        if !self.left.contains(&path) && !self.closed {
            self.left.push(path);
        }
    }

    /// Whether packets for this namespace make sense: it is joined, or has been left just now.
    fn knows(&self, path: &str) -> bool {
        self.stays.iter().any(|stay| &*stay.path == path) || self.left.iter().any(|left| &**left == path)
    }

    /// The client has broken the protocol. Node closes the connection in the same way.
    fn violated(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && !self.closed
        {
            tracing::debug!(?violation, "protocol violation");
            self.turned_away = true;
            self.session.close_for_violation();
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Result<(), Violation> {
        while let Some(running) = &mut self.running {
            match running.poll_next_unpin(cx) {
                Poll::Ready(Some(done)) => self.finish(&done, cx)?,
                // An idle connection keeps no set.
                Poll::Ready(None) => self.running = None,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn poll_stays(&mut self, cx: &mut Context<'_>) -> Result<(), Violation> {
        let mut at = 0;
        while at < self.stays.len() {
            let key = self.stays[at].key;
            self.poll_admission(at, cx)?;
            if self.stays.get(at).is_some_and(|stay| stay.key == key) {
                self.advance(at, cx)?;
            }
            // Another has taken the place of one that was removed.
            if self.stays.get(at).is_some_and(|stay| stay.key == key) {
                at += 1;
            }
        }
        Ok(())
    }

    /// Disconnects all sockets and ends the session, if one of them has asked for it.
    fn end_if_requested(&mut self) {
        if self.ending.is_requested() && !self.closed {
            self.stays.iter().filter_map(Stay::member).for_each(|member| member.socket().disconnect());
            self.session.close();
        }
    }
}

impl Stay {
    fn member(&self) -> Option<&dyn Member> {
        match &self.stage {
            Stage::Connecting(member) | Stage::Open(member) => Some(&**member),
            Stage::Admitting(_) | Stage::Leaving => None,
        }
    }

    fn has_left(&self) -> bool {
        match &self.stage {
            Stage::Admitting(_) => false,
            Stage::Connecting(member) | Stage::Open(member) => member.socket().left().is_some(),
            Stage::Leaving => true,
        }
    }

    /// Whether the time for what still runs has passed; it begins with the first call.
    fn grace_is_over(&mut self, grace: Duration) -> bool {
        let now = tokio::time::Instant::now().into_std();
        now >= *self.grace.get_or_insert(now + grace)
    }

    /// Whether an event that arrives now is handled at once.
    fn may_start(&self) -> bool {
        self.queue.is_empty() && self.may_dequeue()
    }

    fn may_dequeue(&self) -> bool {
        matches!(&self.stage, Stage::Open(member) if self.in_flight < member.max_in_flight())
    }
}

impl engineio::Connection for Connection {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        if self.closed || self.turned_away || self.ending.is_requested() {
            return;
        }
        let result = match message {
            message if self.decoder.is_some() => self.encoded(message, cx),
            Message::Text(text) => self.text(text, cx),
            Message::Binary(bytes) => self.binary(bytes.into_owned().into(), cx),
        };
        self.violated(result);
    }

    fn ready(&self) -> bool {
        self.waiting < MAX_WAITING && self.waiting_bytes < MAX_WAITING_BYTES
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.end_if_requested();
        let running = self.poll_running(cx);
        self.violated(running);
        let stays = self.poll_stays(cx);
        self.violated(stays);
        if self.stays.is_empty() && self.running.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn closed(&mut self, reason: CloseReason) {
        self.closed = true;
        self.join_by = None;
        self.partial = None;
        self.stays.retain(|stay| !matches!(stay.stage, Stage::Admitting(_)));
        for member in self.stays.iter().filter_map(Stay::member) {
            member.socket().leave_namespace(DisconnectReason::Closed(reason));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.stays.iter().filter_map(|stay| stay.grace).chain(self.join_by).min()
    }

    fn timeout(&mut self, now: Instant) {
        if self.join_by.is_some_and(|by| by <= now) {
            self.join_by = None;
            tracing::debug!("no namespace joined in time");
            self.session.close();
        }
    }
}

impl Drop for Connection {
    /// Also when the task is dropped with its runtime, no socket stays in its namespace.
    fn drop(&mut self) {
        for member in self.stays.iter().filter_map(Stay::member) {
            member.socket().leave_namespace(DisconnectReason::Closed(CloseReason::ForcedClose));
        }
    }
}
