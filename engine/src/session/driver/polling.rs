//! The requests of a polling session.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Driver, receive};
use crate::{
    proto::{
        packet::TransportKind,
        payload::PayloadWriter,
        session::{End, Input, Request},
    },
    session::application::{Application, Connection},
    transport::polling::PollResponse,
};

impl<A: Application> Driver<A> {
    /// Drives the parked poll and the POST that is being received.
    pub(super) fn poll_requests(&mut self, cx: &mut Context<'_>, now: Instant) {
        let now = now.into_std();
        if self.poll.as_mut().is_some_and(|poll| poll.poll_disconnected(cx)) {
            self.poll = None;
            self.session.handle(now, Input::Disconnected { request: Request::Poll, error: true });
        }
        let Self { shared, session, connection, post: slot, budget, read_blocked, .. } = self;
        let Some(post) = slot else { return };
        let (body, at) = match post.poll_body(cx) {
            Poll::Pending => return,
            Poll::Ready(Ok((Some(body), at))) => (body, at),
            Poll::Ready(Ok((None, _))) => {
                *slot = None;
                return session.handle(now, Input::Malformed(TransportKind::Polling));
            }
            Poll::Ready(Err(())) => {
                *slot = None;
                return session.handle(now, Input::Disconnected { request: Request::Post, error: true });
            }
        };
        while body.has_packet(*at) {
            *read_blocked = !(connection.is_ready() || session.has_ended());
            if *budget == 0 || *read_blocked {
                return;
            }
            *budget -= 1;
            let packet = body.packet(at);
            if !receive(&shared.limits, session, connection, cx, now, TransportKind::Polling, packet) {
                *slot = None;
                return;
            }
        }
        session.handle(now, Input::PostDone);
        if let Some(post) = slot.take() {
            post.finish();
        }
    }

    /// Responds to the parked poll with the queued messages.
    pub(super) fn respond(&mut self, now: Instant, ping: bool, end: Option<End>) {
        let frames = match end {
            Some(End::Close) => self.handle.take_frames(),
            _ => self.handle.take_poll_frames(),
        };
        self.shared.limits.flushed(self.handle.buffered(), &frames);
        let mut answer = PayloadWriter::new(self.handle.dialect(), &frames);
        let mut empty = !ping;
        if ping {
            answer.push_heartbeat();
        }
        for frame in frames {
            self.responded_bytes += frame.cost();
            answer.push(&frame);
            empty = false;
        }
        match end {
            Some(End::Close) => answer.push_control(b"1"),
            Some(End::Noop) if empty => answer.push_control(b"6"),
            _ => {}
        }
        let body = answer.into_body();
        self.session.responded(body.len());
        let packets = PollResponse { charge: self.handle.charge(body.len()), body };
        let taken = self.poll.take().is_some_and(|poll| poll.answer(packets).is_ok());
        if !taken {
            self.session.handle(now.into_std(), Input::Disconnected { request: Request::Poll, error: true });
        }
    }
}
