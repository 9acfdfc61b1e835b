//! Execution of the outputs of the state machine on the transports.

use std::task::{Context, Poll};

use tokio::time::Instant;
use tracing::{Span, debug};

use super::Driver;
use crate::{
    proto::{
        frame::Frame,
        packet::TransportKind,
        session::{CloseReason, Input, Output, Request, Route},
        websocket::close_code,
    },
    session::application::{Application, Connection},
    transport::{thread_buffers::with_read_buffer, websocket::PeerState},
};

impl<A: Application> Driver<A> {
    /// Executes the outputs of the state machine, and stores its next deadline.
    pub(super) fn outputs(&mut self, now: Instant) {
        loop {
            match self.session.poll() {
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    if self.session.is_closed() && self.open.take().is_some() {
                        self.shared.registry.remove(self.handle.id());
                        self.permit.release(&self.shared.admission);
                    }
                    return;
                }
                output => self.execute(now, output),
            }
        }
    }

    /// Executes an output.
    ///
    /// Out of line, because most wake-ups of a session have no output.
    #[inline(never)]
    fn execute(&mut self, now: Instant, output: Output) {
        match output {
            Output::Respond { ping, end } => self.respond(now, ping, end),
            Output::Ping => self.transmit(Frame::heartbeat(self.handle.dialect().revision)),
            Output::ProbePong => self.transmit(Frame::probe_pong()),
            Output::Accept(_) | Output::Timeout(_) => {}
            Output::DropProbe => self.close_websocket(now, None),
            Output::Upgraded => self.upgraded(),
            Output::Closed(reason) => self.closed(now, reason),
            Output::Finish(reason) => self.close_websocket(now, Some(reason)),
        }
    }

    fn upgraded(&mut self) {
        self.post = None;
        if let Some((open, counted)) = &mut self.open {
            open.upgraded();
            counted.upgraded();
        }
        Span::current().record("transport", TransportKind::WebSocket.as_str());
    }

    fn transmit(&mut self, frame: Frame) {
        if let Some(websocket) = &mut self.websocket {
            websocket.queue_control(frame);
        }
    }

    /// Writes queued messages to the current transport. Returns `true` if commands may be pending.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut has_commands = true;
        match self.session.route() {
            Route::None => {}
            Route::Poll => {
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
                    (frames, has_commands) = self.handle.take_batch();
                    if !frames.is_empty() {
                        self.shared.limits.flushed(self.handle.buffered(), &frames);
                        websocket.queue(frames);
                    }
                }
            }
        }
        self.flush_websocket(cx, now);
        has_commands
    }

    fn flush_websocket(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(websocket) = self.websocket.as_mut().filter(|websocket| !websocket.is_closing()) else {
            return;
        };
        if let Poll::Ready(Err(_)) = websocket.poll_flush(cx) {
            self.websocket = None;
            self.session.handle(now.into_std(), Input::Disconnected { request: Request::Probe, error: true });
            self.outputs(now);
        } else {
            websocket.update_write_timeout(now.into_std(), self.shared.config.write_timeout);
        }
    }

    /// Closes the session for the application. The closing handshake of the WebSocket may take longer.
    fn closed(&mut self, now: Instant, reason: CloseReason) {
        if let Some(log) = &self.log {
            // `cause` distinguishes reasons that have the same name in the protocol.
            debug!(reason = reason.as_str(), cause = ?reason, duration = ?(now - log.opened), "session closed");
        }
        self.handle.close_queue();
        if reason == CloseReason::TransportClose {
            self.permit.release_address();
        }
        if let Some((open, counted)) = &mut self.open {
            open.closed(reason);
            counted.closed(reason);
        }
        // If the server closes the session, a pending POST is completed with status 200. Otherwise, the POST
        // is dropped, and the response has status 400.
        if let Some(post) = self.post.take()
            && reason.is_graceful()
        {
            post.finish();
        }
        self.connection.on_close(reason);
        if self.session.is_closed() {
            self.close_websocket(now, Some(reason));
        }
    }

    /// Starts the closing handshake of the WebSocket, if there is one. `None` closes a probing WebSocket
    /// without affecting the session.
    fn close_websocket(&mut self, now: Instant, reason: Option<CloseReason>) {
        let Some(websocket) = self.websocket.as_mut().filter(|websocket| !websocket.is_closing()) else {
            return;
        };
        let by = now.into_std() + self.shared.config.close_timeout;
        let peer = match reason {
            None | Some(CloseReason::SlowConsumer | CloseReason::PingTimeout) => PeerState::Unresponsive,
            Some(CloseReason::TransportClose) if self.close.is_none() => PeerState::Unresponsive,
            Some(CloseReason::TransportClose) => PeerState::Closing,
            Some(_) => PeerState::Open,
        };
        if reason.is_some() {
            // Messages sent before the close are still written if the client reads.
            let frames = self.handle.take_frames();
            if peer != PeerState::Unresponsive {
                self.shared.limits.sent(&frames);
                websocket.queue(frames);
            }
        }
        let close = self.close.take();
        let close =
            close.unwrap_or_else(|| Frame::close(close_code(reason), reason.map_or("", CloseReason::as_str)));
        websocket.close(close, by, peer);
    }

    /// Resets the connection of the WebSocket, without a close frame.
    #[cold]
    pub(super) fn reset_websocket(&mut self) {
        if let Some(websocket) = self.websocket.take() {
            websocket.reset_on_drop();
        }
    }

    /// Drives the closing handshake of the WebSocket.
    pub(super) fn poll_close_websocket(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(websocket) = &mut self.websocket
            && websocket.is_closing()
            && with_read_buffer(|buffer| websocket.poll_close(cx, now.into_std(), buffer)).is_ready()
        {
            self.websocket = None;
        }
    }
}
