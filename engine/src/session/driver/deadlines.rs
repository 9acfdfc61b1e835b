//! The deadlines of a session, which are those of the heartbeat, paused reading, slow clients and the
//! application.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Driver;
use crate::{
    EngineConfig, Limit,
    proto::{
        frame::Frame,
        session::{CloseReason, Input, Request, Route, Session},
        websocket::{Fault, close_code},
    },
    session::{
        application::{Application, Connection},
        mailbox::SessionHandle,
    },
    transport::{peer_timeouts::Expired, stream::CLOSED_CHECK_INTERVAL, websocket::WebSocket},
};

/// The state of paused reading.
pub(super) struct Pause {
    /// The session is closed at this instant unless reading is resumed before.
    until: std::time::Instant,
    /// The instant of the next check for a disconnect of the client.
    check_at: std::time::Instant,
}

impl<A: Application> Driver<A> {
    /// Becomes ready at the earliest deadline.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let websocket = self.websocket.as_ref().and_then(WebSocket::deadline);
        let mut deadline = earliest(earliest(self.deadline, self.connection.deadline()), websocket);
        if self.pause.is_some() || self.handle.is_backlogged() {
            let pause = self.pause.as_ref().map(|pause| pause.until.min(pause.check_at));
            deadline = earliest(earliest(deadline, pause), self.handle.slow_deadline());
        }
        match deadline.map(Instant::from_std) {
            Some(deadline) if !self.timer.is_set(now, deadline) => self.timer.poll(cx, deadline),
            _ => Poll::Pending,
        }
    }

    /// Handles the deadlines that have passed.
    pub(super) fn handle_deadlines(&mut self, now: Instant) {
        if let Some(heard) = self.handle.sync_activity() {
            // Bytes of a request have arrived that do not complete a packet.
            self.session.record_activity(heard);
        }
        let now = now.into_std();
        self.check_pause(now);
        self.check_peer(now);
        self.session.handle(now, Input::Timeout);
        self.connection.on_timeout(now);
    }

    /// Pauses or resumes reading.
    #[cold]
    pub(super) fn toggle_pause(&mut self, now: Instant) {
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

    /// While reading is paused, checks the timeout of the pause and whether the client has disconnected.
    fn check_pause(&mut self, now: std::time::Instant) {
        let Some(pause) = &mut self.pause else { return };
        if self.session.has_ended() {
            (self.pause, self.read_blocked) = (None, false);
        } else if pause.until <= now {
            (self.pause, self.read_blocked) = (None, false);
            self.handle.record_limit_hit(Limit::ReadPauseTimeout);
            self.session.handle(now, Input::Close(CloseReason::PingTimeout));
        } else if pause.check_at <= now {
            pause.check_at = now + CLOSED_CHECK_INTERVAL;
            if self.websocket.as_ref().is_some_and(|websocket| websocket.stream.is_closed()) {
                self.websocket = None;
                self.session.handle(now, Input::Disconnected { request: Request::Probe, error: false });
            }
        }
    }

    /// Closes the session of a client that does not read its messages, or does not complete a message, in
    /// time.
    fn check_peer(&mut self, now: std::time::Instant) {
        if self.handle.slow_deadline().is_some_and(|at| at <= now) && !self.session.has_ended() {
            return self.close_slow(now, Limit::SlowConsumerGrace);
        }
        let Self { shared, handle, session, connection, websocket, close, .. } = self;
        let Some(websocket) = websocket.as_mut().filter(|websocket| !websocket.is_closing()) else { return };
        match websocket.timeouts.take_expired(now) {
            Some(Expired::Write) if session.route() == Route::WebSocket => {
                self.close_slow(now, Limit::WriteTimeout);
            }
            // The rest of the message may have arrived and not been read yet.
            Some(Expired::Message) if !connection.is_ready() => {
                websocket.update_message_timeout(now, shared.config.message_timeout);
            }
            Some(Expired::Message) => *close = Some(fail_websocket(handle, session, now, Fault::TooSlow)),
            // A probing WebSocket is subject to the upgrade timeout instead.
            Some(Expired::Write) | None => {}
        }
    }

    /// Closes the session of a slow consumer.
    pub(super) fn close_slow(&mut self, now: std::time::Instant, limit: Limit) {
        self.handle.record_limit_hit(limit);
        let setting = describe_limit(limit, &self.shared.config);
        if let Some(permit) = self.shared.warnings.try_acquire() {
            let transport = self.handle.transport().as_str();
            let buffered = self.handle.buffered();
            tracing::warn!(suppressed = permit.suppressed, %limit, setting, transport, buffered, "slow client disconnected");
        }
        if limit == Limit::MaxBufferedTotal && self.websocket.as_ref().is_some_and(WebSocket::is_within_frame)
        {
            // The rest of the frame would occupy memory until the client has read it, or until `close_timeout`.
            self.reset_websocket();
        }
        let text = format!("slow consumer: {limit} ({setting})");
        self.close = Some(Frame::close(close_code(Some(CloseReason::SlowConsumer)), &text));
        self.session.handle(now, Input::Close(CloseReason::SlowConsumer));
    }
}

/// Disconnects a WebSocket because of a fault of its client. Returns a close frame with the code and reason
/// of the fault.
pub(super) fn fail_websocket(
    handle: &SessionHandle,
    session: &mut Session,
    now: std::time::Instant,
    fault: Fault,
) -> Frame {
    if let Some(limit) = limit_of(fault) {
        handle.record_limit_hit(limit);
    }
    session.handle(now, Input::Disconnected { request: Request::Probe, error: true });
    Frame::close(fault.close_code(), fault.reason())
}

#[inline]
fn earliest(a: Option<std::time::Instant>, b: Option<std::time::Instant>) -> Option<std::time::Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// Returns the limit that was exceeded, or `None` if the fault is a protocol violation.
fn limit_of(fault: Fault) -> Option<Limit> {
    match fault {
        Fault::TooManyFragments => Some(Limit::MaxFragments),
        Fault::TooLarge => Some(Limit::MaxHttpBufferSize),
        Fault::TooManyPings => Some(Limit::MaxPingsPerSecond),
        Fault::TooSlow => Some(Limit::MessageTimeout),
        Fault::Protocol | Fault::InvalidUtf8 | Fault::InvalidDeflate => None,
    }
}

/// Returns the configured value of a limit, with its unit. The result is empty for limits that a slow
/// consumer cannot exceed.
fn describe_limit(limit: Limit, config: &EngineConfig) -> String {
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
