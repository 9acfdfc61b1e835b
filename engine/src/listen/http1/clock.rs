//! The deadline of a connection.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// A timer that is set back lazily: one that is due too early costs a look at the clock, while one that follows every
/// request would cost a lock of the runtime's timer wheel.
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
    deadline: Instant,
    /// Whether the timer wakes the task.
    armed: bool,
}

impl Clock {
    pub(super) fn new(timeout: Duration) -> Self {
        let deadline = Instant::now() + timeout;
        Self { timer: Box::pin(tokio::time::sleep_until(deadline)), deadline, armed: false }
    }

    pub(super) fn set(&mut self, timeout: Duration) {
        self.deadline = Instant::now() + timeout;
    }

    /// Ready after the deadline.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.timer.deadline() > self.deadline {
                self.timer.as_mut().reset(self.deadline);
                self.armed = false;
            }
            if self.armed && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            self.armed = true;
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() == self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
            self.armed = false;
        }
    }
}
