//! The connection to another server, which carries the requests of many clients.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
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
/// The maximum number of bytes that wait to be sent to another server.
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
    /// The requests without a response, by their ids.
    pending: HashMap<u32, oneshot::Sender<Reply>>,
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
            outbox.has_ended = true;
            outbox.pending.clear();
        });
        sender
    }

    /// Sends a frame, and waits for the response. If the future is dropped, the other server learns that the client
    /// has disconnected.
    pub(super) async fn request(&self, mut frame: Vec<u8>) -> Result<Reply, Unreachable> {
        let (sender, response) = oneshot::channel();
        let id = {
            let mut outbox = self.0.lock();
            if outbox.has_ended {
                return Err("the connection has ended".into());
            }
            if outbox.output.len() + frame.len() > MAX_OUTPUT {
                return Err("too many bytes are queued".into());
            }
            let id = outbox.next_id;
            outbox.next_id = id.wrapping_add(1);
            ForwardFrame::set_id(&mut frame, id);
            outbox.output.extend_from_slice(&frame);
            outbox.pending.insert(id, sender);
            outbox.wake();
            id
        };
        let pending = Pending { outbox: &self.0, id };
        let response = response.await;
        drop(pending);
        response.map_err(|_| "the connection has ended before the response".into())
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
        frame.encode(0, &mut outbox.output);
        outbox.wake();
    }
}

/// Cancels a request when it is dropped, unless the response has arrived.
struct Pending<'a> {
    outbox: &'a Mutex<Outbox>,
    id: u32,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
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
            ForwardFrame::Ping.encode(0, &mut self.stream.output);
            ping.as_mut().reset(Instant::now() + PING_INTERVAL);
            let _ = ping.poll(cx);
        }
        while self.read(cx)?.is_ready() {}
        let mut outbox = self.outbox.lock();
        self.stream.output.append(&mut outbox.output);
        outbox.waker = Some(cx.waker().clone());
        drop(outbox);
        let _ = self.stream.poll_write(cx)?;
        Poll::Pending
    }

    /// Reads once, and passes the responses to their requests.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, outbox, budget, has_received } = self;
        stream.poll_read(cx, |id, frame, _| {
            *has_received = true;
            let ForwardFrame::Response { status, content, body } = frame else { return };
            // The client may have disconnected.
            let Some(request) = outbox.lock().pending.remove(&id) else { return };
            // Without room, the request fails, and its client opens another session.
            if budget.has_room(body.len())
                && let Some(reply) =
                    Reply::forwarded(status, content, body.to_vec(), budget.charge(body.len()))
            {
                let _ = request.send(reply);
            }
        })
    }
}
