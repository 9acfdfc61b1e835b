//! The deadline of a connection.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::transport::timer::Timer;

/// The deadline of the current wait, and its timer.
pub(in crate::listen) struct Clock {
    timer: Timer,
    deadline: Instant,
}

impl Clock {
    pub(in crate::listen) fn new(timeout: Duration) -> Self {
        Self { timer: Timer::default(), deadline: Instant::now() + timeout }
    }

    pub(in crate::listen) fn set(&mut self, timeout: Duration) {
        self.deadline = Instant::now() + timeout;
    }

    /// Completes after the deadline.
    pub(in crate::listen) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(cx, self.deadline)
    }
}
