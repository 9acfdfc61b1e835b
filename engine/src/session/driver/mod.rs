//! The task of a session.
//!
//! A driver owns the mutable state of a session: the state machine, the transports, the application's
//! connection and the timer. Other tasks send frames and commands through the mailbox. [`Driver::poll`]
//! defines the order of the steps.

mod commands;
mod deadlines;
#[cfg(feature = "forwarding")]
mod forwarded;
mod outputs;
mod polling;
mod websocket;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;
use tracing::{Span, debug, debug_span};

use self::deadlines::Pause;
use super::{
    admission::{AdmissionGuard, SessionPermit},
    application::{Application, Connection},
    mailbox::SessionHandle,
    shared::Shared,
};
use crate::{
    metrics::{OpenSession, limits::LimitCounters, traffic::CountedSession},
    proto::{
        frame::Frame,
        packet::{Malformed, Packet, TransportKind},
        session::{CloseReason, Input, Route, Session},
    },
    transport::{
        polling::{PollRequest, PostRequest},
        timer::Timer,
        upgrade::SessionTask,
        websocket::WebSocket,
    },
};

/// The number of units of work after which the task yields to other tasks. A message is one unit.
const TURN_BUDGET: u32 = 256;

/// The number of units of work that one system call, or one iteration of the loop in [`Driver::poll`], counts as.
const PASS_COST: u32 = 8;

pub(crate) struct Driver<A: Application> {
    shared: Arc<Shared<A>>,
    handle: SessionHandle,
    session: Session,
    connection: A::Connection,
    poll: Option<PollRequest>,
    /// Boxed, because most sessions use a WebSocket.
    post: Option<Box<PostRequest>>,
    websocket: Option<WebSocket>,
    /// The close frame to send instead of the default for the close reason. It replies to the close frame of
    /// the client, or contains the fault or the exceeded limit.
    close: Option<Frame>,
    /// The next deadline of the state machine.
    deadline: Option<std::time::Instant>,
    timer: Timer,
    /// The cost of the messages sent in responses to polls and not yet reported to the mailbox.
    responded_bytes: usize,
    /// `Some` until the session is removed from the registry.
    open: Option<(OpenSession, CountedSession)>,
    /// `true` if input was not read because the application does not accept messages.
    read_blocked: bool,
    /// `true` while the mailbox has the frames that are being written.
    has_lent: bool,
    /// `Some` while reading is paused because of `read_blocked`.
    pause: Option<Box<Pause>>,
    #[cfg(feature = "forwarding")]
    forwarded: forwarded::Forwarded,
    /// The units of work left in this turn.
    budget: u32,
    permit: SessionPermit,
    /// `true` if the client has sent a request after its handshake, or has connected with a WebSocket.
    has_followed_up: bool,
    /// `Some` if logging of sessions is enabled.
    log: Option<Box<SessionLog>>,
}

/// The next step after a pass over the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Run a full pass, because commands may have arrived or the connection can make progress.
    Pass,
    /// Read again, because only the WebSocket may have more input.
    Read,
    /// Wait for a wake-up or a deadline.
    Wait,
    /// Stop the task. The session is closed, and no work is left.
    End,
}

struct SessionLog {
    /// The span of the session. It has no parent, because the span of the request is closed before the
    /// session.
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

impl<A: Application> Driver<A> {
    /// Registers the session. Returns `None` if the id is already in use.
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
        let has_followed_up = websocket.is_some();
        let permit = opening.register(&handle, !(has_followed_up && connection.is_established()));
        let open = (
            OpenSession::new(&shared.limits.metrics, transport),
            CountedSession::new(&shared.limits.traffic, transport),
        );
        if shared.is_closing() {
            // A concurrent call to `close()` may already have listed the sessions.
            handle.close_for(CloseReason::ServerShuttingDown);
        }
        Some(Self {
            log: SessionLog::new(&handle),
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
            responded_bytes: 0,
            open: Some(open),
            read_blocked: false,
            has_lent: false,
            pause: None,
            #[cfg(feature = "forwarding")]
            forwarded: forwarded::Forwarded::default(),
            budget: TURN_BUDGET,
            permit,
            has_followed_up,
        })
    }

    /// Drives the session until it is closed and no work is left.
    ///
    /// This is not an `async fn`, because the future would then store the driver twice, as an argument and as
    /// a local variable.
    pub(crate) fn run(mut self) -> SessionTask {
        Box::pin(async move {
            poll_fn(|cx| {
                let span = self.log.as_ref().map(|log| log.span.clone());
                let _entered = span.as_ref().map(Span::enter);
                self.poll(cx)
            })
            .await;
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut now = Instant::now();
        self.budget = TURN_BUDGET;
        let mut next = Next::Pass;
        loop {
            if next == Next::Pass && self.take_commands(cx, now).is_break() {
                return Poll::Ready(());
            }
            let read = self.read(cx, now);
            next = if read || next == Next::Pass { self.advance(cx, now, read) } else { Next::Wait };
            if next == Next::Wait {
                ready!(self.poll_wait(cx, &mut now));
                next = Next::Pass;
            }
            if next == Next::End {
                return Poll::Ready(());
            }
        }
    }

    /// Advances the state machine, the requests, the connection and the writes, but does not read from the
    /// WebSocket.
    fn advance(&mut self, cx: &mut Context<'_>, now: Instant, read: bool) -> Next {
        if self.poll.is_some() || self.post.is_some() {
            // If the upgrade has just completed, the POST must be dropped before it is polled, because its
            // packets would be out of order.
            self.outputs(now);
            self.poll_requests(cx, now);
        }
        self.outputs(now);
        let was_closed = self.session.is_closed();
        let idle = self.connection.poll_progress(cx).is_ready();
        self.mark_established();
        let has_commands = self.flush(cx, now);
        self.poll_close_websocket(cx, now);
        if self.session.is_closed() && self.websocket.is_none() && idle {
            return Next::End;
        }
        // No waker is registered for these transitions, so another pass is needed.
        if self.take_read_ready() || (!was_closed && self.session.is_closed()) {
            return Next::Pass;
        }
        match (read, has_commands) {
            (true, true) => Next::Pass,
            (true, false) => Next::Read,
            (false, _) => Next::Wait,
        }
    }

    /// Waits for a wake-up or a deadline. Yields first if the budget of the turn is used up.
    fn poll_wait(&mut self, cx: &mut Context<'_>, now: &mut Instant) -> Poll<()> {
        if self.budget == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.budget = self.budget.saturating_sub(PASS_COST);
        if self.read_blocked != self.pause.is_some() {
            self.toggle_pause(*now);
        }
        if !self.sleep(cx) {
            return Poll::Ready(());
        }
        ready!(self.poll_timer(cx, *now));
        *now = Instant::now();
        self.handle_deadlines(*now);
        Poll::Ready(())
    }

    /// Parks the task. Returns `false` if frames or commands have arrived that can be processed now.
    fn sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let written = self.take_written();
        let flushed = self.websocket.as_ref().is_none_or(WebSocket::is_flushed);
        let writable = match self.session.route() {
            Route::None => false,
            Route::Poll => true,
            Route::WebSocket => flushed,
        };
        let spare = self.websocket.as_mut().map(WebSocket::take_empty_queue).unwrap_or_default();
        if !flushed {
            self.lend();
        }
        self.handle.park(cx, written, writable, spare)
    }

    /// Lends the frames that are being written to the mailbox while the task is parked.
    #[cold]
    fn lend(&mut self) {
        if let Some(websocket) = &mut self.websocket {
            let writing = std::mem::take(websocket.sending());
            self.has_lent = !writing.is_empty();
            if let Err(writing) = self.handle.lend(writing) {
                self.has_lent = false;
                *websocket.sending() = writing;
            }
        }
    }

    /// Takes back the frames that are being written. If the session was evicted meanwhile, resets the connection,
    /// because part of a frame may be written.
    #[cold]
    fn take_back(&mut self) {
        self.has_lent = false;
        let writing = self.handle.take_lent();
        if writing.is_empty() {
            self.reset_websocket();
        } else if let Some(websocket) = &mut self.websocket {
            *websocket.sending() = writing;
        }
    }

    /// Ends the pending state of the session once the application recognizes the client.
    fn mark_established(&mut self) {
        if self.permit.is_pending()
            && self.has_followed_up
            && !self.session.has_ended()
            && self.connection.is_established()
        {
            self.permit.confirm(&self.shared.admission);
        }
    }

    /// Returns `true` if the application accepts messages again after reading was blocked.
    fn take_read_ready(&mut self) -> bool {
        let ready = self.read_blocked && self.connection.is_ready();
        self.read_blocked &= !ready;
        ready
    }

    /// Returns the cost of the messages written since the last call.
    fn take_written(&mut self) -> usize {
        std::mem::take(&mut self.responded_bytes) + self.websocket.as_mut().map_or(0, WebSocket::take_written)
    }
}

impl<A: Application> Drop for Driver<A> {
    /// Removes the session, even if the task is dropped together with the runtime.
    fn drop(&mut self) {
        self.handle.task_ended();
        self.permit.release(&self.shared.admission);
        self.shared.registry.remove_task(self.handle.id());
    }
}

/// Passes the message of a packet to the application. Returns `false` if the packet is malformed.
fn receive<C: Connection>(
    limits: &LimitCounters,
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
        limits.received(&message);
        connection.on_message(message, cx);
    }
    true
}
