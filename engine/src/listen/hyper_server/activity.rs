//! What the service reports to the task of its connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;

/// The requests of a connection. The service counts them, and the task of the connection reads the counts after it
/// has polled hyper.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// The number of requests received so far.
    requests: AtomicUsize,
    /// The number of requests whose response hyper has not received completely.
    in_flight: AtomicUsize,
    /// The number of open tunnels, which are streams of HTTP/2 that a service has taken over.
    tunnels: AtomicUsize,
    /// The number of requests without a response.
    unanswered: AtomicUsize,
    /// The number of requests whose body has not been read.
    unread: AtomicUsize,
    /// The number of responses that wait for the client to read, of those over HTTP/2.
    offered: AtomicUsize,
    /// The number of parts of such responses that have been sent.
    sent: AtomicUsize,
    /// `true` if bytes have arrived since the last response.
    received: Arc<AtomicBool>,
    /// `true` if the last request has a safe method.
    is_safe: AtomicBool,
    /// `true` if a service takes the stream over.
    is_upgraded: AtomicBool,
}

impl Activity {
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0 || self.tunnels.load(Ordering::Acquire) > 0
    }

    /// Returns `true` if the body of a request has not been read, so that hyper reads the stream.
    pub(super) fn reads_body(&self) -> bool {
        self.unread.load(Ordering::Acquire) > 0
    }

    /// Returns the number of parts sent so far if a response waits for the client to read.
    pub(super) fn offered_at(&self) -> Option<usize> {
        (self.offered.load(Ordering::Acquire) > 0).then(|| self.sent.load(Ordering::Relaxed))
    }

    /// Returns `true` while a request waits for its response that is aborted if its client shuts down its sending
    /// side.
    pub(super) fn aborts_at_end(&self) -> bool {
        self.is_safe.load(Ordering::Relaxed) && self.unanswered.load(Ordering::Acquire) > 0
    }

    pub(super) fn has_received(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns the flag that the stream sets when bytes arrive.
    pub(super) fn received(&self) -> Arc<AtomicBool> {
        self.received.clone()
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Ordering::Acquire)
    }

    pub(super) fn set_upgraded(&self) {
        self.is_upgraded.store(true, Ordering::Release);
    }

    /// Counts a request.
    pub(super) fn start(self: &Arc<Self>, is_safe: bool) -> Exchange {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.is_safe.store(is_safe, Ordering::Relaxed);
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Exchange { activity: self.clone(), is_answered: false, is_offered: AtomicBool::new(false) }
    }

    /// Counts a tunnel.
    pub(super) fn open_tunnel(self: &Arc<Self>) -> OpenTunnel {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        OpenTunnel(self.clone())
    }

    /// Counts a body that has not been read.
    pub(super) fn read(self: &Arc<Self>) -> Reading {
        self.unread.fetch_add(1, Ordering::Relaxed);
        Reading(self.clone())
    }
}

/// A tunnel, until it has ended or its request was rejected.
pub(super) struct OpenTunnel(Arc<Activity>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Release);
    }
}

/// A request, until its response is complete.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    is_answered: bool,
    /// `true` while the client has to read.
    is_offered: AtomicBool,
}

impl Exchange {
    /// Records that the head of the response is known.
    pub(super) fn answer(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.activity.unanswered.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Exchange {
    /// Records whether the response waits for the client to read, or for the service.
    pub(super) fn offer(&self, is_offered: bool) {
        if self.is_offered.swap(is_offered, Ordering::Relaxed) != is_offered {
            if is_offered {
                self.activity.offered.fetch_add(1, Ordering::Release);
            } else {
                self.activity.offered.fetch_sub(1, Ordering::Release);
            }
        }
    }
}

/// A part of a response over HTTP/2, until it has been sent.
pub(super) struct Unsent {
    pub(super) data: Bytes,
    pub(super) exchange: Arc<Exchange>,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.exchange.activity.sent.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.answer();
        self.offer(false);
        self.activity.received.store(false, Ordering::Relaxed);
        self.activity.in_flight.fetch_sub(1, Ordering::Release);
    }
}

/// A request body, until it has been read or dropped.
#[derive(Debug)]
pub(super) struct Reading(Arc<Activity>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.unread.fetch_sub(1, Ordering::Release);
    }
}
