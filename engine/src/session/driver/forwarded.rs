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
    /// `true` if the client has sent polls with different queries, so it never sends the same query twice.
    varies: bool,
    /// `true` if the client may not have received the response.
    is_unconfirmed: bool,
    /// `true` if the response had no packet that the client would miss.
    is_released: bool,
}

impl<A: Application> Driver<A> {
    /// Handles what a poll says about the polls before it.
    pub(super) fn poll_arrived(&mut self, now: Instant, id: PollId) {
        // When a server has died, a proxy repeats the poll through another server, perhaps before this server learns
        // of it.
        if self.poll.as_ref().is_some_and(|parked| parked.id.via != id.via) {
            self.release_poll(now);
            self.outputs(now.into());
        }
        let last = std::mem::take(&mut self.forwarded);
        let is_repeated = last.id.query == id.query;
        let is_first = last.id == PollId::default();
        let varies = last.varies || !(is_first || is_repeated);
        self.forwarded = Forwarded { id, varies, ..Forwarded::default() };
        let was_answered = self.poll.is_none() && !last.is_released;
        if is_repeated && was_answered && (last.is_unconfirmed || varies) {
            self.session.handle(now, Input::Close(CloseReason::TransportError));
        }
    }

    /// Completes the parked poll with a NOOP packet.
    pub(super) fn release_poll(&mut self, now: Instant) {
        self.forwarded.is_released |= self.poll.is_some();
        self.session.handle(now, Input::ReleasePoll);
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
