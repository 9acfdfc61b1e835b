//! The deadlines of a connection between two requests.
//!
//! hyper has one deadline for the next head, which runs from the end of the request before. A client that keeps a
//! connection for later would have to be as quick as one that is in the middle of a head. So hyper gets a clock that
//! tells the two apart: it is slow until the first byte of the head is here.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

use super::config::ListenConfig;

/// The clock of one connection.
pub(super) struct HeadTimer {
    /// Set when bytes arrive.
    heard: Arc<AtomicBool>,
    keep_alive_timeout: Duration,
    header_read_timeout: Duration,
    /// Whether a head has been waited for: the first must come at once.
    used: AtomicBool,
}

impl HeadTimer {
    pub(super) fn new(heard: Arc<AtomicBool>, config: &ListenConfig) -> Self {
        Self {
            heard,
            keep_alive_timeout: config.keep_alive_timeout,
            header_read_timeout: config.header_read_timeout,
            used: AtomicBool::new(false),
        }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let deadline = tokio::time::Instant::from_std(deadline);
        if !self.used.swap(true, Ordering::Relaxed) {
            return Box::pin(HeadSleep { sleep: tokio::time::sleep_until(deadline), idle: None });
        }
        self.heard.store(false, Ordering::Relaxed);
        let idle = Idle { heard: self.heard.clone(), header_read_timeout: self.header_read_timeout };
        Box::pin(HeadSleep { sleep: tokio::time::sleep(self.keep_alive_timeout), idle: Some(idle) })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

struct Idle {
    heard: Arc<AtomicBool>,
    header_read_timeout: Duration,
}

pin_project_lite::pin_project! {
    /// hyper polls it whenever it has read and still has no head.
    struct HeadSleep {
        #[pin]
        sleep: tokio::time::Sleep,
        // While nothing of the head has come.
        idle: Option<Idle>,
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(idle) = this.idle.take_if(|idle| idle.heard.load(Ordering::Relaxed)) {
            this.sleep.as_mut().reset(tokio::time::Instant::now() + idle.header_read_timeout);
        }
        ready!(this.sleep.poll(cx));
        Poll::Ready(())
    }
}
