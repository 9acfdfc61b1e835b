//! A timer for a task with a moving deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep_until},
};

/// A timer that wakes its task at a deadline. The deadline usually moves before the timer fires.
///
/// The timer is reset lazily. An early wake-up only costs a reading of the clock, whereas a reset for every
/// packet would lock the runtime's timer wheel.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// `None` until the first wait.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The instant at which the registered waker fires. A single registration is sufficient, because the task
    /// always has the same waker.
    due: Option<Instant>,
}

impl Timer {
    /// Returns `true` if the task will be woken by the deadline, so [`poll`](Self::poll) is not needed. This
    /// check does not access the runtime's memory, which is rarely in the CPU caches.
    pub(crate) fn is_set(&self, now: Instant, deadline: Instant) -> bool {
        self.due.is_some_and(|due| now < due && due <= deadline)
    }

    /// Returns `Ready` once the deadline has passed. The deadline may differ in each call.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
            self.due = None;
        }
        if self.due.is_some() {
            return Poll::Pending;
        }
        // Without coop budget, `Sleep` does not register the task but wakes it immediately.
        self.due = has_budget_remaining().then(|| sleep.deadline());
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{task::coop::poll_proceed, time::timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_follows_its_deadline() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let mut latest = start;
        for (before, deadline) in [(3, 5), (9, 7), (6, 6)] {
            let (before, deadline) = (start + before * SECOND, start + deadline * SECOND);
            let is_over = before <= Instant::now();
            assert_eq!(poll_fn(|cx| Poll::Ready(timer.poll(cx, before))).await.is_ready(), is_over);
            poll_fn(|cx| timer.poll(cx, deadline)).await;
            latest = latest.max(deadline);
            assert_eq!(Instant::now(), latest);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_a_task_that_had_used_up_its_turn() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let mut is_first = true;
        let due = poll_fn(|cx| {
            if std::mem::take(&mut is_first) {
                while let Poll::Ready(proceeds) = poll_proceed(cx) {
                    proceeds.made_progress();
                }
            }
            timer.poll(cx, start + SECOND)
        });
        timeout(2 * SECOND, due).await.expect("it does not wake its task");
        assert_eq!(start.elapsed(), SECOND);
    }
}
