//! The polls and POSTs of open sessions.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use http::StatusCode;
use http_body::Body;
use tokio::sync::oneshot;

use crate::{
    CloseReason, EngineConfig, Limit, SessionHandle,
    http::{
        body::{BodyError, collect},
        reply::Reply,
    },
    proto::{
        dialect::{Dialect, Revision},
        payload::Payload,
    },
    session::mailbox::Command,
    transport::polling::{self, PollId, PollResponse},
};

/// Reads the body of a POST and passes its packets to the session.
pub(crate) async fn post<B: Body>(
    session: &SessionHandle,
    body: B,
    is_binary: bool,
    config: &EngineConfig,
) -> Reply {
    let payload = |body: Vec<u8>| Payload::new(body, session.dialect(), is_binary);
    let mut body = pin!(collect(body, config, |now| session.record_activity(now)));
    // Most bodies arrive together with their head.
    let first_poll = poll_fn(|cx| Poll::Ready(body.as_mut().poll(cx))).await;
    let taken = if let Poll::Ready(Ok(body)) = first_poll {
        Ok(submit(session, payload(body)).await)
    } else {
        let (post, mut ticket) = polling::PostRequest::streaming();
        session.command(Command::Post(Box::new(post)));
        let mut first_poll = Some(first_poll);
        let body = poll_fn(|cx| match Pin::new(&mut ticket.done).poll(cx) {
            // The session responded before the body was complete, because another POST is in progress or the
            // session has ended.
            Poll::Ready(done) => Poll::Ready(Err(done.is_ok())),
            Poll::Pending => match first_poll.take() {
                Some(Poll::Ready(failed)) => Poll::Ready(Ok(failed)),
                _ => body.as_mut().poll(cx).map(Ok),
            },
        })
        .await;
        match body {
            Ok(Ok(body)) => {
                // If the receiver was dropped, `done` is already resolved.
                let _ = ticket.body.send(payload(body));
                Ok(ticket.done.await.is_ok())
            }
            // The ticket is still alive, so the session processes this command before it detects the broken
            // POST.
            Ok(Err(BodyError::Limit(limit))) => Err(limit_exceeded(session, limit)),
            Ok(Err(BodyError::Broken)) => Err(Reply::refused(StatusCode::BAD_REQUEST)),
            Err(taken) => Ok(taken),
        }
    };
    taken.map_or_else(|refused| refused, Reply::post_response)
}

/// Closes a session because a POST exceeds a limit.
pub(crate) fn limit_exceeded(session: &SessionHandle, limit: Limit) -> Reply {
    session.record_limit_hit(limit);
    session.command(Command::PostRefused);
    Reply::limit_exceeded(limit)
}

/// Passes the packets of a complete POST to the session. Returns `true` if the session accepted them.
pub(crate) async fn submit(session: &SessionHandle, payload: Option<Payload>) -> bool {
    start_post(session, payload).await.is_ok()
}

/// Passes the packets of a complete POST to the session. The receiver fails if the session rejects them.
pub(crate) fn start_post(session: &SessionHandle, payload: Option<Payload>) -> oneshot::Receiver<()> {
    let (post, done) = polling::PostRequest::complete(payload);
    session.command(Command::Post(Box::new(post)));
    done
}

/// Waits for the packets that the session sends.
pub(crate) async fn poll(session: &SessionHandle, id: PollId) -> Reply {
    poll_reply(session.dialect(), start_poll(session, id).await.ok())
}

/// Asks the session for packets. The receiver fails if the session rejects the poll.
pub(crate) fn start_poll(session: &SessionHandle, id: PollId) -> oneshot::Receiver<PollResponse> {
    let (poll, packets) = polling::PollRequest::new(id);
    session.command(Command::Poll(poll));
    packets
}

/// Returns the reply to a poll, or to a poll that the session has rejected.
pub(crate) fn poll_reply(dialect: Dialect, packets: Option<PollResponse>) -> Reply {
    match packets {
        Some(packets) => Reply::packets(dialect, packets),
        None => Reply::refused(StatusCode::BAD_REQUEST),
    }
}

/// Checks the head of a POST.
pub(crate) fn check_post(
    session: &SessionHandle,
    is_binary: bool,
    len: u64,
    config: &EngineConfig,
) -> Result<(), Reply> {
    let dialect = session.dialect();
    if is_binary && (dialect.revision == Revision::V4 || dialect.jsonp.is_some()) {
        // Only protocol 3 has binary payloads. In protocol 4 and in JSONP forms, binary packets are encoded in
        // base64.
        session.close_for(CloseReason::TransportError);
        return Err(Reply::refused(StatusCode::BAD_REQUEST));
    }
    if len > config.max_http_buffer_size as u64 {
        return Err(limit_exceeded(session, Limit::MaxHttpBufferSize));
    }
    Ok(())
}
