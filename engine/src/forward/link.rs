//! The connection to another server, which carries the requests of many clients.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};

use super::{Unreachable, frames::FrameStream};
use crate::{
    http::reply::Reply,
    proto::{budget::Budget, forward::ForwardFrame},
};

/// The time for which a server counts as unreachable after it could not be connected to. Without it, each request
/// would wait for its own attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The time between two pings. A server that has not sent anything since the last ping is frozen, or cut off.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum length of a response that is not charged to the budget.
const MIN_CHARGED_BYTES: usize = 16 * 1024;
/// The maximum number of bytes of requests that wait to be sent to another server.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;

/// The link to a server. The first request connects it.
#[derive(Default)]
pub(super) struct Link {
    /// The current connection, which may have ended.
    sender: Mutex<Option<Sender>>,
    /// Held while the link is being connected. The time of the last failure.
    connecting: tokio::sync::Mutex<Option<Instant>>,
}

impl Link {
    /// Returns `false` if the link is not connected, and nobody connects it.
    pub(super) fn is_used(&self) -> bool {
        self.connected().is_some() || self.connecting.try_lock().is_err()
    }

    /// Returns the current connection.
    pub(super) fn connected(&self) -> Option<Sender> {
        self.sender.lock().clone().filter(|sender| !sender.0.lock().has_ended)
    }

    /// Returns the current connection, or the connection that `connect` opens.
    pub(super) async fn sender<F>(&self, connect: impl FnOnce() -> F) -> Result<Sender, Unreachable>
    where
        F: Future<Output = Result<Sender, Unreachable>>,
    {
        if let Some(sender) = self.connected() {
            return Ok(sender);
        }
        let mut last_failure = self.connecting.lock().await;
        if let Some(sender) = self.connected() {
            return Ok(sender);
        }
        if last_failure.is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return Err("the last attempt to connect failed".into());
        }
        match connect().await {
            Ok(sender) => {
                *self.sender.lock() = Some(sender.clone());
                *last_failure = None;
                Ok(sender)
            }
            Err(error) => {
                *last_failure = Some(Instant::now());
                Err(error)
            }
        }
    }
}

/// Sends requests over a connection.
#[derive(Clone)]
pub(super) struct Sender(Arc<Mutex<Outbox>>);

/// The requests of a connection.
#[derive(Default)]
struct Outbox {
    /// Encoded frames that the task of the connection has not taken yet.
    output: Vec<u8>,
    /// The number of bytes that the task has taken, and has not written completely.
    taken: usize,
    /// The requests without a response, by their ids.
    pending: HashMap<u32, oneshot::Sender<Result<Reply, Unreachable>>>,
    next_id: u32,
    waker: Option<Waker>,
    has_ended: bool,
}

impl Outbox {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Sender {
    /// Starts the task of a connection. Responses that clients have not read are charged to `budget`.
    pub(super) fn spawn(stream: FrameStream, address: SocketAddr, budget: Arc<Budget>) -> Self {
        let sender = Self(Arc::default());
        let mut task = Task { stream, outbox: sender.0.clone(), budget, has_received: true };
        tokio::spawn(async move {
            let Err(error) = task.run().await;
            tracing::debug!(%address, %error, "the connection to another server has ended");
            let mut outbox = task.outbox.lock();
            *outbox = Outbox { has_ended: true, ..Outbox::default() };
        });
        sender
    }

    /// Queues a request.
    pub(super) fn request(&self, frame: ForwardFrame<'_>) -> Result<PendingReply, Unreachable> {
        let mut outbox = self.0.lock();
        let Outbox { output, taken, pending, next_id, has_ended, .. } = &mut *outbox;
        if *has_ended {
            return Err("the connection has ended".into());
        }
        let (before, id) = (output.len(), *next_id);
        frame.encode(id, output);
        if *taken + output.len() > MAX_OUTPUT {
            output.truncate(before);
            return Err("too many bytes are queued".into());
        }
        *next_id = id.wrapping_add(1);
        let (sender, reply) = oneshot::channel();
        pending.insert(id, sender);
        outbox.wake();
        Ok(PendingReply { outbox: self.0.clone(), id, reply })
    }

    /// Asks the other server to complete all polls, because this server closes.
    pub(super) fn release(&self) {
        let mut outbox = self.0.lock();
        let Outbox { pending, output, .. } = &mut *outbox;
        for id in pending.keys() {
            ForwardFrame::Release.encode(*id, output);
        }
        outbox.wake();
    }

    /// Sends a frame without a response.
    pub(super) fn notify(&self, frame: ForwardFrame<'_>) {
        let mut outbox = self.0.lock();
        if outbox.has_ended {
            return;
        }
        frame.encode(0, &mut outbox.output);
        outbox.wake();
    }
}

/// The response to a request. If it is dropped before, the other server learns that the client has disconnected.
pub(super) struct PendingReply {
    outbox: Arc<Mutex<Outbox>>,
    id: u32,
    reply: oneshot::Receiver<Result<Reply, Unreachable>>,
}

impl Future for PendingReply {
    type Output = Result<Reply, Unreachable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(Pin::new(&mut self.reply).poll(cx));
        Poll::Ready(reply.unwrap_or_else(|_| Err("the connection has ended before the response".into())))
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if self.reply.is_terminated() {
            return;
        }
        let mut outbox = self.outbox.lock();
        if outbox.pending.remove(&self.id).is_some() {
            ForwardFrame::Cancel.encode(self.id, &mut outbox.output);
            outbox.wake();
        }
    }
}

/// The task of a connection.
struct Task {
    stream: FrameStream,
    outbox: Arc<Mutex<Outbox>>,
    budget: Arc<Budget>,
    /// `true` if anything has arrived since the last ping.
    has_received: bool,
}

impl Task {
    async fn run(&mut self) -> io::Result<Infallible> {
        let mut ping = pin!(sleep(PING_INTERVAL));
        poll_fn(|cx| self.poll(cx, ping.as_mut())).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut ping: Pin<&mut Sleep>) -> Poll<io::Result<Infallible>> {
        if ping.as_mut().poll(cx).is_ready() {
            if !std::mem::take(&mut self.has_received) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // Nobody can send requests any more.
            if Arc::strong_count(&self.outbox) == 1 {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            }
            ForwardFrame::Ping.encode(0, &mut self.outbox.lock().output);
            ping.as_mut().reset(Instant::now() + PING_INTERVAL);
            let _ = ping.poll(cx);
        }
        while self.read(cx)?.is_ready() {}
        self.write(cx)
    }

    /// Writes the frames of the outbox.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Infallible>> {
        if !self.outbox.lock().output.is_empty() && self.stream.yields(cx) {
            return Poll::Pending;
        }
        loop {
            ready!(self.stream.poll_write(cx))?;
            let mut outbox = self.outbox.lock();
            let Outbox { output, taken, waker, .. } = &mut *outbox;
            *taken = output.len();
            if output.is_empty() {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            std::mem::swap(&mut self.stream.output, output);
        }
    }

    /// Reads once, and passes the responses to their requests.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, outbox, budget, has_received } = self;
        stream.poll_read(cx, |id, frame, _| {
            *has_received = true;
            let ForwardFrame::Response { status, content, body } = frame else { return };
            // The client may have disconnected.
            let Some(request) = outbox.lock().pending.remove(&id) else { return };
            let is_charged = body.len() > MIN_CHARGED_BYTES;
            // Without room, the request fails, and its client opens another session.
            let reply = if is_charged && !budget.has_room(body.len()) {
                Err("clients have not read too many bytes of responses".into())
            } else {
                let charge = is_charged.then(|| budget.charge(body.len()));
                let reply = Reply::forwarded(status, content, body.to_vec(), charge);
                reply.ok_or_else(|| "the response is malformed".into())
            };
            let _ = request.send(reply);
        })
    }
}
