//! The options that brokers have in common.

use std::time::Duration;

/// The options of a broker whose servers know each other by heartbeats.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The size of the queue in bytes.
    pub max_queued_bytes: usize,
    /// The age at which queued messages are dropped while the broker is away.
    pub max_queued_age: Duration,
    /// How often the server checks its connection.
    pub watchdog_interval: Duration,
    /// How often the server sends a heartbeat in each namespace.
    pub heartbeat_interval: Duration,
    /// The time without a message after which another server is considered dead.
    pub heartbeat_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_queued_bytes: 64 * 1024 * 1024,
            max_queued_age: Duration::from_secs(5),
            watchdog_interval: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
        }
    }
}

/// Adds the methods that set the limits of the queue and the interval of the watchdog. `$options` is the field
/// of the type that has them.
#[macro_export]
macro_rules! queue_options {
    ($broker:ty, $options:ident) => {
        impl $broker {
            /// Sets the maximum size of the queue of messages to other servers, in bytes. Defaults to 64 MiB.
            /// While the queue is full, an emit fails with
            /// [`ClusterFull`](socketio::EmitError::ClusterFull).
            #[must_use]
            pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
                self.$options.max_queued_bytes = bytes;
                self
            }

            /// Sets the age at which queued messages are dropped while the broker is away. Defaults to 5
            /// seconds.
            #[must_use]
            pub fn max_queued_age(mut self, age: std::time::Duration) -> Self {
                self.$options.max_queued_age = age;
                self
            }

            /// Sets how often the server checks that it receives its own messages. If it does not, it connects
            /// again. Defaults to 5 seconds.
            ///
            /// # Panics
            ///
            /// Panics if the interval is zero.
            #[must_use]
            #[track_caller]
            pub fn watchdog_interval(mut self, interval: std::time::Duration) -> Self {
                assert!(!interval.is_zero(), "the interval of the watchdog must not be zero");
                self.$options.watchdog_interval = interval;
                self
            }
        }
    };
}

/// Adds the methods that set the times of heartbeats. `$options` is the field of the type that has them.
#[macro_export]
macro_rules! heartbeat_options {
    ($broker:ty, $options:ident) => {
        impl $broker {
            /// Sets how often the server sends a heartbeat in each namespace. Defaults to 5 seconds. Called
            /// `heartbeatInterval` in Node.js.
            ///
            /// # Panics
            ///
            /// Panics if the interval is zero.
            #[must_use]
            #[track_caller]
            pub fn heartbeat_interval(mut self, interval: std::time::Duration) -> Self {
                assert!(!interval.is_zero(), "the interval of heartbeats must not be zero");
                self.$options.heartbeat_interval = interval;
                self
            }

            /// Sets the time without a message after which another server is considered dead. Must be longer
            /// than the interval of the other servers. Defaults to 10 seconds. Called `heartbeatTimeout` in
            /// Node.js.
            #[must_use]
            pub fn heartbeat_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.$options.heartbeat_timeout = timeout;
                self
            }
        }
    };
}
