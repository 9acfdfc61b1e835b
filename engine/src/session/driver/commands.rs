//! Execution of the commands that other tasks send through the mailbox.

use std::{ops::ControlFlow, task::Context};

use tokio::time::Instant;

use super::Driver;
use crate::{
    proto::session::{Input, Request, Route},
    session::{application::Application, mailbox::Command},
};

impl<A: Application> Driver<A> {
    /// Executes the queued commands. Returns `Break` if the task must stop immediately.
    pub(super) fn take_commands(&mut self, cx: &mut Context<'_>, now: Instant) -> ControlFlow<()> {
        if self.has_lent {
            self.take_back();
        }
        let written = self.take_written();
        for command in self.handle.take_commands(written) {
            self.command(cx, now, command)?;
        }
        ControlFlow::Continue(())
    }

    /// Processes earlier input before a poll. The deadline of the session may have passed, or the packet that
    /// completes the upgrade may have arrived on the WebSocket. In either case, the session may no longer
    /// accept the poll.
    fn catch_up(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now.into_std()) {
            if let Some(heard) = self.handle.sync_activity() {
                self.session.record_activity(heard);
            }
            self.session.handle(now.into_std(), Input::Timeout);
            self.outputs(now);
        }
        if self.session.route() != Route::WebSocket && self.read(cx, now) {
            self.outputs(now);
        }
    }

    fn command(&mut self, cx: &mut Context<'_>, now: Instant, command: Command) -> ControlFlow<()> {
        if let Command::Close(_) = command {
            // A parked poll receives the messages sent before the close, and the next poll receives the close
            // packet.
            self.flush(cx, now);
        }
        if let Command::Poll(_) = command {
            self.catch_up(cx, now);
        }
        let instant = now.into_std();
        self.has_followed_up |= matches!(command, Command::Poll(_) | Command::Post(_) | Command::Probe(_));
        match command {
            // The official client processes a close packet immediately but messages one event loop turn
            // later. Therefore, messages are sent in a separate response.
            Command::Poll(poll) if self.session.has_ended() && self.handle.has_frames() => {
                self.poll = Some(poll);
                self.respond(now, false, None);
            }
            Command::Poll(poll) => {
                #[cfg(feature = "forwarding")]
                self.poll_arrived(instant, poll.id);
                self.session.handle(instant, Input::Arrived(Request::Poll));
                if self.session.accepted() {
                    self.poll = Some(poll);
                }
            }
            Command::Post(post) => {
                self.session.handle(instant, Input::Arrived(Request::Post));
                if self.session.accepted() {
                    self.post = Some(post);
                }
            }
            Command::Probe(mut websocket) => {
                self.session.handle(instant, Input::Arrived(Request::Probe));
                if self.session.accepted() {
                    self.websocket = Some(*websocket);
                } else {
                    // This writes the response 101, which fits into the buffer of a new stream.
                    let _ = websocket.poll_flush(cx);
                }
            }
            Command::Close(reason) => self.session.handle(instant, Input::Close(reason)),
            Command::CloseSlow(limit) if !self.session.has_ended() => self.close_slow(instant, limit),
            Command::CloseSlow(_) => {}
            Command::PostRefused => self.session.handle(instant, Input::PostRefused),
            #[cfg(feature = "forwarding")]
            Command::ReleasePoll => self.release_poll(instant),
            #[cfg(feature = "forwarding")]
            Command::Unconfirmed(id) => self.unconfirmed(id),
            #[cfg(feature = "forwarding")]
            Command::CloseUnconfirmed => self.close_unconfirmed(instant),
            Command::Abort => return ControlFlow::Break(()),
        }
        // The next command may concern the same poll, so the response must be sent first.
        self.outputs(now);
        self.flush(cx, now);
        ControlFlow::Continue(())
    }
}
