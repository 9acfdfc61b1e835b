//! The other end of a link: executes the requests that another server forwards.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use http::StatusCode;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};

use super::{LIMITS, frames::FrameStream, link::PING_INTERVAL};
use crate::{
    CloseReason, EngineConfig, Limit, SessionHandle,
    http::{
        reply::Reply,
        request::Intent,
        session_request::{check_post, limit_exceeded, poll_reply, start_poll, start_post},
        view::RequestView,
    },
    proto::{dialect::Dialect, forward::ForwardFrame, payload::Payload},
    session::{mailbox::Command, shared::Shared},
    transport::{
        polling::{PollId, PollResponse},
        upgrade::UpgradedParts,
    },
};

/// The maximum number of encoded bytes of responses. While more wait to be written, further responses stay with their
/// sessions, where they count against the limits on queued bytes.
const MAX_OUTPUT: usize = 256 * 1024;
/// The number of bytes of a request beside its body.
const MAX_HEAD: usize = 1024 * 1024;
/// The number of ping intervals without a ping after which the other server is frozen, or cut off.
const MISSED_PINGS: u32 = 3;
/// The time in which a client polls again, through another server than the one that has died.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

/// Executes requests until the other server closes the connection.
///
/// Then the clients of the pending polls may still be there, and may reach this session through another server. A
/// session is closed only if packets may be lost.
pub(crate) async fn serve<A>(parts: UpgradedParts, shared: Arc<Shared<A>>) {
    let UpgradedParts { stream, answer, rest } = parts;
    let max_frame = shared.config.max_http_buffer_size.saturating_add(MAX_HEAD);
    let stream = FrameStream::new(stream, rest, answer, max_frame);
    let requests = Requests {
        number: shared.links.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
        shared,
        running: FuturesUnordered::new(),
        pending: HashMap::new(),
        unconfirmed: Default::default(),
    };
    let mut server = Server { stream, requests };
    let mut timeout = pin!(sleep(PING_INTERVAL * MISSED_PINGS));
    let Err(error) = poll_fn(|cx| server.poll(cx, timeout.as_mut())).await;
    tracing::debug!(%error, "the connection of another server has ended");
    server.requests.abandon().await;
}

struct Server<A> {
    stream: FrameStream,
    requests: Requests<A>,
}

/// The requests without a response.
struct Requests<A> {
    /// The number of the connection.
    number: u32,
    shared: Arc<Shared<A>>,
    running: FuturesUnordered<Abortable<Running>>,
    pending: HashMap<u32, Pending>,
    /// The polls that were answered since the last ping of the other server, and between the two pings before. Their
    /// clients may not have received the response.
    unconfirmed: [Vec<(SessionHandle, PollId)>; 2],
}

/// The future of a response, with the id of its request.
struct Running {
    id: u32,
    response: Response,
}

/// The response of a session.
enum Response {
    Poll(Dialect, oneshot::Receiver<PollResponse>),
    Post(oneshot::Receiver<()>),
}

impl Future for Running {
    type Output = (u32, Reply);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = match &mut self.response {
            Response::Poll(dialect, packets) => poll_reply(*dialect, ready!(Pin::new(packets).poll(cx)).ok()),
            Response::Post(done) => Reply::post_response(ready!(Pin::new(done).poll(cx)).is_ok()),
        };
        Poll::Ready((self.id, reply))
    }
}

/// A request without a response.
struct Pending {
    /// Drops the request, because the client has disconnected.
    cancel: AbortHandle,
    /// The session of a poll.
    polled: Option<(SessionHandle, PollId)>,
}

impl<A> Server<A> {
    fn poll(&mut self, cx: &mut Context<'_>, mut timeout: Pin<&mut Sleep>) -> Poll<io::Result<Infallible>> {
        let Self { stream, requests } = self;
        let shared = requests.shared.clone();
        let mut on_frame = |id, frame: ForwardFrame<'_>, output: &mut Vec<u8>| {
            if frame == ForwardFrame::Ping {
                let [since, before] = &mut requests.unconfirmed;
                *before = std::mem::take(since);
                ForwardFrame::Pong.encode(id, output);
            } else if let Some(reply) = requests.start(id, frame) {
                respond(id, &reply, output);
            }
        };
        while stream.poll_read(cx, &mut on_frame)?.is_ready() {
            if shared.is_closing() && shared.registry.len() == 0 {
                // A server that is drained is connected again if there is another request.
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            }
            timeout.as_mut().reset(Instant::now() + PING_INTERVAL * MISSED_PINGS);
        }
        if timeout.poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        loop {
            while stream.output.len() < MAX_OUTPUT
                && let Poll::Ready(Some(done)) = requests.running.poll_next_unpin(cx)
            {
                if let Ok((id, reply)) = done {
                    requests.finish(id);
                    respond(id, &reply, &mut stream.output);
                }
            }
            let is_full = stream.output.len() >= MAX_OUTPUT;
            if !stream.output.is_empty() && !is_full && stream.yields(cx) {
                return Poll::Pending;
            }
            if stream.poll_write(cx)?.is_pending() || !is_full {
                return Poll::Pending;
            }
        }
    }
}

fn respond(id: u32, reply: &Reply, output: &mut Vec<u8>) {
    let (status, content) = (reply.status.as_u16(), reply.content_number());
    ForwardFrame::Response { status, content, body: &reply.body }.encode(id, output);
}

impl<A> Requests<A> {
    /// Executes a frame. Returns the response if it is known immediately.
    fn start(&mut self, id: u32, frame: ForwardFrame<'_>) -> Option<Reply> {
        match frame {
            ForwardFrame::Poll { query } => match self.session("GET", query) {
                Ok((session, poll_id)) => {
                    let poll_id = PollId { via: self.number, request: id, ..poll_id };
                    let packets = start_poll(&session, poll_id);
                    let response = Response::Poll(session.dialect(), packets);
                    self.run(id, Some((session, poll_id)), response);
                }
                Err(reply) => return Some(reply),
            },
            ForwardFrame::Post { query, is_binary, body } => match self.session("POST", query) {
                Ok((session, _)) => match check_post(&session, is_binary, body.len() as u64, self.config()) {
                    Ok(()) => {
                        let payload = Payload::new(body, session.dialect(), is_binary);
                        self.run(id, None, Response::Post(start_post(&session, payload)));
                    }
                    Err(reply) => return Some(reply),
                },
                Err(reply) => return Some(reply),
            },
            ForwardFrame::PostRefused { query, limit } => {
                let limit = LIMITS.get(usize::from(limit)).copied().unwrap_or(Limit::MaxHttpBufferSize);
                return Some(match self.session("POST", query) {
                    Ok((session, _)) => limit_exceeded(&session, limit),
                    Err(reply) => reply,
                });
            }
            ForwardFrame::PostFailed { query } => {
                if let Ok((session, _)) = self.session("POST", query) {
                    session.command(Command::PostRefused);
                }
            }
            ForwardFrame::Active { query } => {
                if let Ok((session, _)) = self.session("POST", query) {
                    session.record_activity(Instant::now().into_std());
                }
            }
            ForwardFrame::Cancel => {
                if let Some(request) = self.pending.remove(&id) {
                    request.cancel.abort();
                }
            }
            ForwardFrame::Release => {
                if let Some(Pending { polled: Some((session, _)), .. }) = self.pending.get(&id) {
                    session.command(Command::ReleasePoll);
                }
            }
            ForwardFrame::Response { .. } | ForwardFrame::Ping | ForwardFrame::Pong => {}
        }
        None
    }

    fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// Returns the session of a request, or the response that rejects the request.
    fn session(&self, method: &str, query: &str) -> Result<(SessionHandle, PollId), Reply> {
        let request = RequestView { method, query, headers: &[], body: &[] };
        match Intent::from_forwarded(&request, self.config(), &self.shared.registry) {
            Ok(Intent::Poll(session, id)) => Ok((session, id)),
            Ok(Intent::Post(session)) => Ok((session, PollId::default())),
            Ok(_) => Err(Reply::refused(StatusCode::INTERNAL_SERVER_ERROR)),
            Err(error) => {
                self.shared.limits.metrics.refused(error);
                Err(Reply::error(error))
            }
        }
    }

    fn run(&mut self, id: u32, polled: Option<(SessionHandle, PollId)>, response: Response) {
        let (cancel, registration) = AbortHandle::new_pair();
        self.pending.insert(id, Pending { cancel, polled });
        self.running.push(Abortable::new(Running { id, response }, registration));
    }

    fn finish(&mut self, id: u32) {
        if let Some(Pending { polled: Some(poll), .. }) = self.pending.remove(&id) {
            self.unconfirmed[0].push(poll);
        }
    }

    /// Releases the polls of a server that has gone. Their clients can poll again. Closes the sessions whose last packets
    /// may be lost.
    async fn abandon(mut self) {
        let unconfirmed = std::mem::take(&mut self.unconfirmed).concat();
        for (session, id) in &unconfirmed {
            session.command(Command::Unconfirmed(*id));
        }
        self.pending.retain(|_, Pending { cancel, polled }| {
            match polled {
                Some((session, _)) => session.command(Command::ReleasePoll),
                None => cancel.abort(),
            }
            polled.is_some()
        });
        while let Some(done) = self.running.next().await {
            if let Ok((id, reply)) = done
                && let Some(Pending { polled: Some((session, _)), .. }) = self.pending.remove(&id)
                && reply.status == StatusCode::OK
                && !is_noop(&reply.body)
            {
                session.close_for(CloseReason::TransportError);
            }
        }
        sleep(CONFIRM_TIMEOUT).await;
        for (session, _) in unconfirmed {
            session.command(Command::CloseUnconfirmed);
        }
    }
}

/// Returns `true` if the response to a poll has no packet that the client would miss.
fn is_noop(body: &[u8]) -> bool {
    matches!(body, b"6" | b"1:6")
}
