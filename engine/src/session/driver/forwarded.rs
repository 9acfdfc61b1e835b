//! Polls that other servers have forwarded.

use std::time::Instant;

use super::Driver;
use crate::{
    proto::session::{CloseReason, Input},
    session::application::Application,
    transport::polling::PollId,
};

/// The last poll of a session.
#[derive(Default)]
pub(super) struct Forwarded {
    id: PollId,
    /// `true` if the client may not have received the response.
    is_unconfirmed: bool,
    /// `true` if the client has sent polls with different queries, so it never sends the same query twice.
    varies: bool,
}

impl<A: Application> Driver<A> {
    /// Handles what a poll says about the polls before it.
    pub(super) fn poll_arrived(&mut self, now: Instant, id: PollId) {
        // The client of a server that has died repeats its poll through another server, perhaps before this server
        // learns of it.
        let was_answered = self.poll.is_none();
        if self.poll.as_ref().is_some_and(|parked| parked.id.via != id.via) {
            self.session.handle(now, Input::ReleasePoll);
            self.outputs(now.into());
        }
        let Forwarded { id: last, is_unconfirmed, varies } = std::mem::take(&mut self.forwarded);
        let is_repeated = last.query == id.query;
        let was_polled = last != PollId::default();
        self.forwarded =
            Forwarded { id, is_unconfirmed: false, varies: varies || (was_polled && !is_repeated) };
        if is_repeated && (is_unconfirmed || varies) && was_answered {
            self.session.handle(now, Input::Close(CloseReason::TransportError));
        }
    }

    /// Marks the response to a poll as unconfirmed.
    pub(super) fn unconfirmed(&mut self, id: PollId) {
        self.forwarded.is_unconfirmed |= self.forwarded.id == id && self.websocket.is_none();
    }

    pub(super) fn close_unconfirmed(&mut self, now: Instant) {
        if self.forwarded.is_unconfirmed {
            self.session.handle(now, Input::Close(CloseReason::TransportError));
        }
    }
}
