//! The one task of a session: feeds the state machine with what its transports and others bring, and carries
//! out what it answers.

pub(crate) mod polling;
pub(crate) mod websocket;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{Span, debug, debug_span};

use crate::{
    EngineConfig, Limit,
    metrics::{Metrics, OpenSession},
    proto::{
        frame::Frame,
        packet::{Malformed, Packet, TransportKind},
        session::{CloseReason, Input, Output, Request, Route, Session},
        websocket::{Fault, close_code},
    },
    session::{
        admission::{AdmissionGuard, SessionPermit},
        application::{Application, Connection},
        mailbox::{Command, SessionHandle},
        shared::Shared,
    },
    transport::{
        peer_timeouts::Expired,
        polling::{PollRequest, PostRequest},
        thread_buffers::with_read_buffer,
        timer::Timer,
        upgrade::SessionTask,
        websocket::{PeerState, WebSocket},
    },
};

/// The units of work that a task does before it lets others run. A message is one unit.
const TURN: u32 = 256;

/// The units of a system call, and of a round of all that a task looks at.
const ROUND: u32 = 8;

/// How often a connection that is not read is asked whether the client has closed it.
const CLOSED_CHECK_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) struct Driver<A: Application> {
    shared: Arc<Shared<A>>,
    handle: SessionHandle,
    session: Session,
    connection: A::Connection,
    poll: Option<PollRequest>,
    post: Option<PostRequest>,
    websocket: Option<WebSocket>,
    /// The close frame that answers the client's, or says what it did wrong.
    close: Option<Frame>,
    deadline: Option<std::time::Instant>,
    timer: Timer,
    /// The cost of messages that left in the answer to a poll.
    answered: usize,
    /// As long as requests find the session.
    open: Option<OpenSession>,
    /// Something was not read, because the application takes no messages.
    unread: bool,
    /// While that is so.
    pause: Option<Box<Pause>>,
    /// The units of work that are left in this turn.
    turn: u32,
    place: SessionPermit,
    /// Whether the client has come back after its handshake.
    is_back: bool,
    /// Whether the task is to end at once.
    aborted: bool,
    /// If anybody looks at the log of sessions.
    logged: Option<Box<SessionLog>>,
}

/// What the log tells of a session.
struct SessionLog {
    /// No part of the span of the request, which ends before.
    span: Span,
    opened: Instant,
}

impl SessionLog {
    fn new(handle: &SessionHandle) -> Option<Box<Self>> {
        let transport = handle.transport().as_str();
        let span = debug_span!(parent: None, "session", id = ?handle.id(), transport);
        if span.is_disabled() {
            return None;
        }
        debug!(parent: &span, "session opened");
        Some(Box::new(Self { span, opened: Instant::now() }))
    }
}

struct Pause {
    /// When the session ends, unless something is read before.
    until: std::time::Instant,
    /// When to look next whether the client has closed its connection.
    check_at: std::time::Instant,
}

impl<A: Application> Driver<A> {
    /// `None` if the id of the session is taken.
    pub(crate) fn new(
        opening: AdmissionGuard<A>,
        handle: SessionHandle,
        connection: A::Connection,
        websocket: Option<WebSocket>,
    ) -> Option<Self> {
        let shared = opening.shared.clone();
        let transport = if websocket.is_some() { TransportKind::WebSocket } else { TransportKind::Polling };
        let revision = handle.dialect().revision;
        let session = Session::new(Instant::now().into_std(), shared.timing.clone(), transport, revision);
        if !shared.registry.insert(handle.clone()) {
            return None;
        }
        let is_back = websocket.is_some();
        let place = opening.register(&handle, !(is_back && connection.is_established()));
        let open = OpenSession::new(&shared.limits.metrics, transport);
        if shared.is_closing() {
            // It was let in before the end, and the list of those who are told may be older than it is.
            handle.close_for(CloseReason::ServerShuttingDown);
        }
        Some(Self {
            logged: SessionLog::new(&handle),
            shared,
            handle,
            session,
            connection,
            poll: None,
            post: None,
            websocket,
            close: None,
            deadline: None,
            timer: Timer::default(),
            answered: 0,
            open: Some(open),
            unread: false,
            pause: None,
            turn: TURN,
            place,
            is_back,
            aborted: false,
        })
    }

    /// Drives the session to its end.
    ///
    /// Not an `async fn`, whose state would hold the driver twice: as its argument, and as what it works on.
    pub(crate) fn run(mut self) -> SessionTask {
        Box::pin(async move {
            poll_fn(|cx| {
                let span = self.logged.as_ref().map(|logged| logged.span.clone());
                let _inside = span.as_ref().map(Span::enter);
                self.poll(cx)
            })
            .await;
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut now = Instant::now();
        self.turn = TURN;
        // Whether there may be more to do than to read on.
        let mut called = true;
        loop {
            if called {
                let written = self.take_written();
                for command in self.handle.take_commands(written) {
                    self.command(cx, now, command);
                }
                if self.aborted {
                    return Poll::Ready(());
                }
            }
            let read = self.read(cx, now);
            if read || called {
                // If the WebSocket has taken over just now, a POST has lost its place in the order.
                self.outputs(now);
                self.post(cx, now);
                self.outputs(now);
                let was_closed = self.session.is_closed();
                let idle = self.connection.poll(cx).is_ready();
                if self.place.is_pending() && self.is_established() {
                    self.place.confirm(&self.shared.admission);
                }
                let commanded = self.flush(cx, now);
                self.close_websocket(cx, now);
                if self.session.is_closed() && self.websocket.is_none() && idle {
                    return Poll::Ready(());
                }
                // Either lets the connection go on with something that nothing else would wake it for.
                let resumed = self.resumes() || (!was_closed && self.session.is_closed());
                if read || resumed {
                    called = resumed || commanded;
                    continue;
                }
            }
            called = true;
            if self.turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.turn = self.turn.saturating_sub(ROUND);
            if self.unread != self.pause.is_some() {
                self.toggle_pause(now);
            }
            if !self.sleep(cx) {
                continue;
            }
            if self.poll_timer(cx, now).is_pending() {
                return Poll::Pending;
            }
            now = Instant::now();
            if let Some(heard) = self.handle.sync_activity() {
                // Of a request, parts have come that are no packet yet.
                self.session.record_activity(heard);
            }
            self.check_pause(now);
            self.pace(now);
            self.session.handle(now.into_std(), Input::Timeout);
            self.connection.timeout(now.into_std());
        }
    }

    /// Whether a session that is pending need not be so any more.
    fn is_established(&self) -> bool {
        self.is_back && !self.session.has_ended() && self.connection.is_established()
    }

    /// Waits for the next deadline.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let websocket = self.websocket.as_ref().and_then(WebSocket::deadline);
        let mut deadline = earliest(earliest(self.deadline, self.connection.deadline()), websocket);
        if self.pause.is_some() || self.handle.is_backlogged() {
            let pause = self.pause.as_ref().map(|pause| pause.until.min(pause.check_at));
            deadline = earliest(earliest(deadline, pause), self.handle.slow_at());
        }
        match deadline.map(Instant::from_std) {
            Some(deadline) if !self.timer.is_set(now, deadline) => self.timer.poll(cx, deadline),
            _ => Poll::Pending,
        }
    }

    /// Whether the application takes messages again, of which some were not read.
    fn resumes(&mut self) -> bool {
        let resumes = self.unread && self.connection.ready();
        self.unread &= !resumes;
        resumes
    }

    /// Takes note that the application takes no messages, or that it takes them again.
    #[cold]
    fn toggle_pause(&mut self, now: Instant) {
        let instant = now.into_std();
        if self.pause.take().is_some() {
            self.session.resume(instant);
        } else {
            let until = instant + self.shared.config.read_pause_timeout;
            self.pause = Some(Box::new(Pause { until, check_at: instant + CLOSED_CHECK_INTERVAL }));
            self.session.pause(instant);
        }
        self.outputs(now);
    }

    /// Looks for the end of a client that is not read.
    fn check_pause(&mut self, now: Instant) {
        let now = now.into_std();
        let Some(pause) = &mut self.pause else { return };
        if self.session.has_ended() {
            (self.pause, self.unread) = (None, false);
        } else if pause.until <= now {
            (self.pause, self.unread) = (None, false);
            self.handle.hit(Limit::ReadPauseTimeout);
            self.session.handle(now, Input::Close(CloseReason::PingTimeout));
        } else if pause.check_at <= now {
            pause.check_at = now + CLOSED_CHECK_INTERVAL;
            if self.websocket.as_ref().is_some_and(|websocket| websocket.stream.is_closed()) {
                self.websocket = None;
                self.session.handle(now, Input::Gone { request: Request::Probe, error: false });
            }
        }
    }

    /// Ends the session of a client that does not take its messages.
    fn close_slow(&mut self, now: std::time::Instant, limit: Limit) {
        self.handle.hit(limit);
        let setting = setting(limit, &self.shared.config);
        if let Some(left_out) = self.shared.warnings.allows() {
            let transport = self.handle.transport().as_str();
            let buffered = self.handle.buffered();
            tracing::warn!(left_out, %limit, setting, transport, buffered, "slow client disconnected");
        }
        let text = format!("slow consumer: {limit} ({setting})");
        self.close = Some(Frame::close(close_code(Some(CloseReason::SlowConsumer)), &text));
        self.session.handle(now, Input::Close(CloseReason::SlowConsumer));
    }

    /// Ends the session of a client that does not take or send in time.
    fn pace(&mut self, now: Instant) {
        let now = now.into_std();
        if self.handle.slow_at().is_some_and(|at| at <= now) && !self.session.has_ended() {
            return self.close_slow(now, Limit::SlowConsumerGrace);
        }
        let Self { shared, handle, session, connection, websocket, close, .. } = self;
        let Some(websocket) = websocket.as_mut().filter(|websocket| !websocket.is_closing()) else { return };
        match websocket.pace.late(now) {
            Some(Expired::Taking) if session.route() == Route::WebSocket => {
                self.close_slow(now, Limit::WriteTimeout);
            }
            // The rest of the message may wait to be read.
            Some(Expired::Sending) if !connection.ready() => {
                websocket.watch_reading(now, shared.config.message_timeout);
            }
            Some(Expired::Sending) => *close = Some(refuse(handle, session, now, Fault::TooSlow)),
            // A WebSocket that only probes has a deadline of its own.
            Some(Expired::Taking) | None => {}
        }
    }

    /// Puts the task to sleep, unless something has arrived that can be acted on now.
    fn sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let written = self.take_written();
        let spare = self.websocket.as_mut().map(WebSocket::take_spare).unwrap_or_default();
        let flushed = self.websocket.as_ref().is_none_or(WebSocket::is_flushed);
        let writable = match self.session.route() {
            Route::Hold => false,
            Route::Answer => true,
            Route::WebSocket => flushed,
        };
        self.handle.sleep(cx, written, writable, spare)
    }

    fn take_written(&mut self) -> usize {
        std::mem::take(&mut self.answered) + self.websocket.as_mut().map_or(0, WebSocket::take_written)
    }

    fn command(&mut self, cx: &mut Context<'_>, now: Instant, command: Command) {
        if let Command::Close(_) = command {
            // A parked poll takes what was sent before, and the next one the end: see below.
            self.flush(cx, now);
        }
        let now = now.into_std();
        self.is_back |= matches!(command, Command::Poll(_) | Command::Post(_) | Command::Probe(_));
        match command {
            // The official client hears of the end at once and of messages a turn later: so they come apart.
            Command::Poll(poll) if self.session.has_ended() && self.handle.has_frames() => {
                self.poll = Some(poll);
                self.answer(Instant::from_std(now), false, None);
            }
            Command::Poll(poll) => {
                self.session.handle(now, Input::Arrived(Request::Poll));
                if self.session.accepted() {
                    self.poll = Some(poll);
                }
            }
            Command::Post(post) => {
                self.session.handle(now, Input::Arrived(Request::Post));
                if self.session.accepted() {
                    self.post = Some(post);
                }
            }
            Command::Probe(mut websocket) => {
                self.session.handle(now, Input::Arrived(Request::Probe));
                if self.session.accepted() {
                    self.websocket = Some(*websocket);
                } else {
                    // The answer to its handshake, with which a new stream is not full.
                    let _ = websocket.poll_flush(cx);
                }
            }
            Command::Close(reason) => self.session.handle(now, Input::Close(reason)),
            Command::CloseSlow(limit) if !self.session.has_ended() => self.close_slow(now, limit),
            Command::CloseSlow(_) => {}
            Command::PostRefused => self.session.handle(now, Input::PostRefused),
            Command::Abort => self.aborted = true,
        }
        // The answer to one command must be out before the next is looked at: it may concern the same poll.
        self.outputs(Instant::from_std(now));
        self.flush(cx, Instant::from_std(now));
    }

    /// Carries out what the state machine has decided.
    fn outputs(&mut self, now: Instant) {
        loop {
            match self.session.poll() {
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    if self.session.is_closed() && self.open.take().is_some() {
                        self.shared.registry.remove(self.handle.id());
                        self.place.leave(&self.shared.admission);
                    }
                    return;
                }
                Output::Answer { ping, end } => self.answer(now, ping, end),
                Output::Ping => self.transmit(Frame::heartbeat(self.handle.dialect().revision)),
                Output::ProbePong => self.transmit(Frame::probe_pong()),
                Output::Accept(_) => {}
                Output::DropProbe => self.close_frame(now, None),
                Output::Upgraded => self.upgraded(),
                Output::Closed(reason) => self.closed(now, reason),
                Output::Finish(reason) => self.close_frame(now, Some(reason)),
            }
        }
    }

    fn upgraded(&mut self) {
        self.post = None;
        if let Some(open) = &mut self.open {
            open.upgraded();
        }
        Span::current().record("transport", TransportKind::WebSocket.as_str());
    }

    fn transmit(&mut self, frame: Frame) {
        if let Some(websocket) = &mut self.websocket {
            websocket.queue_first(frame);
        }
    }

    /// Hands messages to the transport that may carry them now. Says whether commands may wait.
    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut commanded = true;
        match self.session.route() {
            Route::Hold => {}
            Route::Answer => {
                if self.handle.has_frames() {
                    self.session.handle(now.into_std(), Input::Deliver);
                    self.outputs(now);
                }
            }
            Route::WebSocket => {
                if let Some(websocket) = &mut self.websocket
                    && websocket.is_flushed()
                {
                    let frames;
                    (frames, commanded) = self.handle.take_batch();
                    if !frames.is_empty() {
                        self.shared.limits.metrics.flushed(self.handle.buffered(), &frames);
                        websocket.queue(frames);
                    }
                }
            }
        }
        if let Some(websocket) = &mut self.websocket
            && !websocket.is_closing()
        {
            if let Poll::Ready(Err(_)) = websocket.poll_flush(cx) {
                self.websocket = None;
                self.session.handle(now.into_std(), Input::Gone { request: Request::Probe, error: true });
                self.outputs(now);
            } else {
                websocket.watch_writing(now.into_std(), self.shared.config.write_timeout);
            }
        }
        commanded
    }

    fn closed(&mut self, now: Instant, reason: CloseReason) {
        if let Some(logged) = &self.logged {
            // The words of the protocol do not tell all reasons apart.
            debug!(reason = reason.as_str(), cause = ?reason, duration = ?(now - logged.opened), "session closed");
        }
        self.handle.close_queue();
        if reason == CloseReason::TransportClose {
            self.place.leave_address();
        }
        if let Some(open) = &mut self.open {
            open.closed(reason);
        }
        // Of a POST that still waits nothing is taken any more; it is refused only to a client that did wrong.
        if let Some(post) = self.post.take()
            && reason.is_graceful()
        {
            post.finish();
        }
        self.connection.closed(reason);
        if self.session.is_closed() {
            self.close_frame(now, Some(reason));
        }
    }

    /// Starts the end of the WebSocket, if there is one. `None`: it only probed, and polling goes on.
    fn close_frame(&mut self, now: Instant, reason: Option<CloseReason>) {
        let Some(websocket) = self.websocket.as_mut().filter(|websocket| !websocket.is_closing()) else {
            return;
        };
        let by = now.into_std() + self.shared.config.close_timeout;
        // Messages that were sent before the end still go out, if there is hope that somebody reads them.
        let client = match reason {
            None | Some(CloseReason::SlowConsumer | CloseReason::PingTimeout) => PeerState::Unresponsive,
            Some(CloseReason::TransportClose) if self.close.is_none() => PeerState::Unresponsive,
            Some(CloseReason::TransportClose) => PeerState::Closing,
            Some(_) => PeerState::Open,
        };
        if reason.is_some() {
            let frames = self.handle.take_frames();
            if client != PeerState::Unresponsive {
                self.shared.limits.metrics.sent(&frames);
                websocket.queue(frames);
            }
        }
        let close = self.close.take();
        let close =
            close.unwrap_or_else(|| Frame::close(close_code(reason), reason.map_or("", CloseReason::as_str)));
        websocket.close(close, by, client);
    }

    /// Goes on with the end of the WebSocket.
    fn close_websocket(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(websocket) = &mut self.websocket
            && websocket.is_closing()
            && with_read_buffer(|scratch| websocket.poll_close(cx, now.into_std(), scratch)).is_ready()
        {
            self.websocket = None;
        }
    }
}

impl<A: Application> Drop for Driver<A> {
    /// Also when the task is dropped with its runtime, nothing of the session stays behind.
    fn drop(&mut self) {
        self.handle.abandon();
        self.place.leave(&self.shared.admission);
        self.shared.registry.task_ends(self.handle.id());
    }
}

fn earliest(a: Option<std::time::Instant>, b: Option<std::time::Instant>) -> Option<std::time::Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// Ends a WebSocket whose client did wrong; gives back the close frame that tells it.
fn refuse(handle: &SessionHandle, session: &mut Session, now: std::time::Instant, fault: Fault) -> Frame {
    if let Some(limit) = limit_of(fault) {
        handle.hit(limit);
    }
    session.handle(now, Input::Gone { request: Request::Probe, error: true });
    Frame::close(fault.close_code(), fault.reason())
}

/// Takes a packet and hands its message up; says whether it was well-formed.
fn receive<C: Connection>(
    metrics: &Metrics,
    session: &mut Session,
    connection: &mut C,
    cx: &mut Context<'_>,
    now: std::time::Instant,
    via: TransportKind,
    packet: Result<Packet<'_>, Malformed>,
) -> bool {
    let Ok(packet) = packet else {
        session.handle(now, Input::Malformed(via));
        return false;
    };
    if let Some(message) = session.receive(now, via, packet) {
        metrics.received(&message);
        connection.message(message, cx);
    }
    true
}

/// The limit that a fault exceeds, if it is one of size or time.
fn limit_of(fault: Fault) -> Option<Limit> {
    match fault {
        Fault::TooManyFragments => Some(Limit::MaxFragments),
        Fault::TooLarge => Some(Limit::MaxHttpBufferSize),
        Fault::TooManyPings => Some(Limit::MaxPingsPerSecond),
        Fault::TooSlow => Some(Limit::MessageTimeout),
        Fault::Protocol | Fault::InvalidUtf8 | Fault::InvalidDeflate => None,
    }
}

/// The value of the option behind a limit, with its unit, for the limits that a slow consumer exceeds.
fn setting(limit: Limit, config: &EngineConfig) -> String {
    match limit {
        Limit::MaxBufferedHard => format!("{} bytes", config.max_buffered_hard),
        Limit::MaxBufferedTotal => format!("{} bytes", config.max_buffered_total),
        Limit::SlowConsumerGrace => {
            format!("{:?} above {} bytes", config.slow_consumer_grace, config.max_buffered)
        }
        Limit::WriteTimeout => format!("{:?}", config.write_timeout),
        _ => String::new(),
    }
}
