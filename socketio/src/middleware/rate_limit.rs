//! Limits the rate of events.

use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{Quota, RateLimiter, clock::Clock, state::keyed::DashMapStateStore};
use tokio::time::Instant;

use super::MiddlewareFuture;
use crate::{
    event::{AckResponse, error::EventError},
    handles::socket::Socket,
    metrics::log::Limit,
    namespace::middleware::{Event, Next},
};

/// The minimum number of events between two removals of unused keys.
const MIN_CHECKS: usize = 1024;

/// Middleware that limits the rate of events.
///
/// A burst of [`burst`](Self::burst) events is accepted at once. After that, one event is accepted for each
/// `period / events`, so the rate is limited over any period (the generic cell rate algorithm of the crate
/// [`governor`](https://docs.rs/governor)). Events above the limit are treated as the
/// [`RateLimitPolicy`] says. They do not count against the limit, so a client that continues to send too fast
/// is served at the permitted rate.
///
/// The first event above the limit is logged as a warning for each namespace, and later ones at the level
/// `debug`. The metric `socketio_rate_limited_total` counts all of them.
///
/// The memory is bounded by the number of keys that were used in the last period. Node.js has no built-in rate
/// limit; its documentation shows one with `rate-limiter-flexible`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use socketio::{Event, Namespace, Socket, middleware::{RateLimit, RateLimitPolicy}};
///
/// #[derive(Clone)]
/// struct User { id: u64 }
///
/// let second = Duration::from_secs(1);
/// let chat = Namespace::with_data("/", User { id: 7 })
///     // A socket that sends more than 100 events in a second must leave.
///     .wrap(RateLimit::new(100, second).policy(RateLimitPolicy::Disconnect).per_socket())
///     // A user may say something every two seconds, also with several sockets.
///     .wrap(RateLimit::new(1, 2 * second).burst(3).events(["say"]).per_key(
///         |socket: &Socket<User>, _: &Event| socket.data().id,
///     ))
///     .on("say", async |socket, text: String| socket.broadcast().emit("said", &text));
/// ```
#[derive(Debug, Clone)]
#[must_use = "the limit applies to the namespace whose `wrap` gets it"]
pub struct RateLimit {
    quota: Quota,
    /// The names of the limited events. `None` limits all events.
    events: Option<Arc<[String]>>,
    policy: RateLimitPolicy,
}

/// The treatment of events above the limit of [`RateLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RateLimitPolicy {
    /// Acknowledges the event with the error `rate limit exceeded`.
    #[default]
    Refuse,
    /// Drops the event without an acknowledgement.
    Drop,
    /// Drops the event and [disconnects](Socket::disconnect) the socket.
    Disconnect,
}

impl RateLimit {
    /// Creates a limit of `events` events per `period`, also for a burst.
    ///
    /// # Panics
    ///
    /// Panics if `events` is zero, or if `period` is less than one nanosecond for each event.
    #[track_caller]
    pub fn new(events: u32, period: Duration) -> Self {
        let burst = NonZeroU32::new(events).expect("a rate limit of zero events");
        let quota = Quota::with_period(period / events).expect("a rate limit without a period");
        Self { quota: quota.allow_burst(burst), events: None, policy: RateLimitPolicy::default() }
    }

    /// Sets the number of events that are accepted at once. Default: the number of events per period.
    ///
    /// # Panics
    ///
    /// Panics if `events` is zero.
    #[track_caller]
    pub fn burst(mut self, events: u32) -> Self {
        self.quota = self.quota.allow_burst(NonZeroU32::new(events).expect("a burst of zero events"));
        self
    }

    /// Limits only the events with these names, which share the limit. Default: all events, including those
    /// without a handler.
    pub fn events<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.events = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the treatment of events above the limit. Default: [`RateLimitPolicy::Refuse`].
    pub fn policy(mut self, policy: RateLimitPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Returns middleware that limits each socket by itself.
    pub fn per_socket<D>(
        self,
    ) -> impl Fn(Socket<D>, Event, Next<D>) -> MiddlewareFuture + Clone + Send + Sync + 'static
    where
        D: Send + Sync + 'static,
    {
        self.per_key(|socket: &Socket<D>, _: &Event| socket.0.id)
    }

    /// Returns middleware that limits all sockets with the same key together, for example all sockets of a user
    /// or of an [address](crate::Handshake::address).
    pub fn per_key<D, K>(
        self,
        key: impl Fn(&Socket<D>, &Event) -> K + Send + Sync + 'static,
    ) -> impl Fn(Socket<D>, Event, Next<D>) -> MiddlewareFuture + Clone + Send + Sync + 'static
    where
        D: Send + Sync + 'static,
        K: Hash + Eq + Clone + Send + Sync + 'static,
    {
        let Self { quota, events, policy } = self;
        let (key, limiter) = (Arc::new(key), Arc::new(KeyedLimiter::new(quota)));
        move |socket: Socket<D>, event: Event, next: Next<D>| {
            let is_limited = events.as_ref().is_none_or(|names| names.contains(&event.name));
            if !is_limited || limiter.check(&key(&socket, &event)) {
                return Box::pin(next.run(event));
            }
            socket.0.warnings().limit_hit(socket.path(), Limit::EventRate);
            socket.0.metrics().rate_limited();
            Box::pin(std::future::ready(match policy {
                RateLimitPolicy::Refuse => Err(EventError::public("rate limit exceeded")),
                RateLimitPolicy::Drop => Ok(AckResponse(None)),
                RateLimitPolicy::Disconnect => {
                    socket.disconnect();
                    Ok(AckResponse(None))
                }
            }))
        }
    }
}

/// The state of a limit for all keys.
#[derive(Debug)]
struct KeyedLimiter<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, TokioClock>,
    /// The number of events until keys that are not used any more are removed.
    checks_left: AtomicUsize,
}

impl<K: Hash + Eq + Clone> KeyedLimiter<K> {
    fn new(quota: Quota) -> Self {
        let limiter = RateLimiter::dashmap_with_clock(quota, TokioClock);
        Self { limiter, checks_left: AtomicUsize::new(MIN_CHECKS) }
    }

    /// Counts an event. Returns `false` if it is above the limit.
    fn check(&self, key: &K) -> bool {
        // An event adds at most one key. The removal is so rare that it costs little for each event, and so
        // frequent that at most half of the keys are unused ones.
        if self.checks_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.limiter.retain_recent();
            self.checks_left.store(self.limiter.len().max(MIN_CHECKS), Ordering::Relaxed);
        }
        self.limiter.check_key(key).is_ok()
    }
}

/// The clock of tokio, which tests can pause.
#[derive(Debug, Clone)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn unused_keys_are_removed() {
        let quota = Quota::with_period(Duration::from_secs(1)).unwrap();
        let limiter = KeyedLimiter::new(quota);
        for key in 0..10 * MIN_CHECKS {
            assert!(limiter.check(&key));
            assert!(!limiter.check(&key));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(limiter.limiter.len() <= 3 * MIN_CHECKS, "{}", limiter.limiter.len());
    }
}
