//! The commands that other tasks leave in the mailbox.

use std::{ops::ControlFlow, task::Context};

use tokio::time::Instant;

use super::Driver;
use crate::{
    proto::session::{Input, Request, Route},
    session::{application::Application, mailbox::Command},
};

impl<A: Application> Driver<A> {
    /// Executes the commands. Breaks if the task has to end at once.
    pub(super) fn take_commands(&mut self, cx: &mut Context<'_>, now: Instant) -> ControlFlow<()> {
        let written = self.take_written();
        for command in self.handle.take_commands(written) {
            self.command(cx, now, command)?;
        }
        ControlFlow::Continue(())
    }

    /// Processes earlier input before a poll: a session whose deadline has passed has ended, and a client whose
    /// WebSocket has completed the upgrade has left polling, although the poll arrived on another connection.
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
            // A parked poll takes what was sent before, and the next poll the close packet.
            self.flush(cx, now);
        }
        if let Command::Poll(_) = command {
            self.catch_up(cx, now);
        }
        let instant = now.into_std();
        self.has_followed_up |= matches!(command, Command::Poll(_) | Command::Post(_) | Command::Probe(_));
        match command {
            // The official client acts on the close packet at once and on messages a turn later. So the messages
            // get a response of their own.
            Command::Poll(poll) if self.session.has_ended() && self.handle.has_frames() => {
                self.poll = Some(poll);
                self.respond(now, false, None);
            }
            Command::Poll(poll) => {
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
                    // Writes the 101, for which the buffer of a new stream has room.
                    let _ = websocket.poll_flush(cx);
                }
            }
            Command::Close(reason) => self.session.handle(instant, Input::Close(reason)),
            Command::CloseSlow(limit) if !self.session.has_ended() => self.close_slow(instant, limit),
            Command::CloseSlow(_) => {}
            Command::PostRefused => self.session.handle(instant, Input::PostRefused),
            Command::Abort => return ControlFlow::Break(()),
        }
        // The next command may concern the same poll, so its response must be on its way first.
        self.outputs(now);
        self.flush(cx, now);
        ControlFlow::Continue(())
    }
}
