//! Options of the accept loop.

use std::time::Duration;

use crate::config::descriptors::default_max_connections;

crate::__config! {
    /// The options of the accept loop, [`serve`](crate::serve). Every limit is finite by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use engineio::{Connections, ListenConfig};
    ///
    /// let config = ListenConfig::default().max_connections(10_000_usize).keep_alive_timeout(Duration::from_secs(5));
    /// assert_eq!(Connections::new(config).open(), 0);
    /// ```
    ListenConfig {
        /// Maximum time to receive the head of a request, from its first byte; for the first request of a
        /// connection, from the time when the connection was accepted. 10 seconds by default. Then the
        /// connection is closed, with status 408 if a part of the head has arrived. Node: `headersTimeout` of
        /// the HTTP server.
        header_read_timeout: Duration = Duration::from_secs(10),
        /// Maximum idle time of a connection between two requests. 75 seconds by default: load balancers keep
        /// an idle connection for 60 seconds, and the server must not be the one that closes it, because a
        /// request may be in transit, for which the client would get a 502. Node: `keepAliveTimeout` of the
        /// HTTP server, 5 seconds.
        keep_alive_timeout: Duration = Duration::from_secs(75),
        /// Maximum time for which a client may read nothing of a pending response. 15 seconds by default;
        /// then its connection is closed.
        write_timeout: Duration = Duration::from_secs(15),
        /// Maximum size of a request head, in bytes. 16 KiB by default; beyond it, the status is 431. Node:
        /// `maxHeaderSize` of the HTTP server.
        max_head: usize = 16 * 1024,
        /// Maximum number of request headers. 100 by default; beyond it, the status is 431. Node:
        /// `maxHeadersCount` of the HTTP server.
        max_headers: usize = 100,
        /// Maximum number of open connections, including those upgraded to WebSocket. By default nine tenths
        /// of the descriptors that the process may open (the soft limit `RLIMIT_NOFILE` at the time of the
        /// call), at most one million. Beyond it, a client gets status 503 with `Retry-After`, and its
        /// connection is closed; while 64 clients are being rejected in this way, others are closed without a
        /// response. Node: `maxConnections` of the HTTP server.
        max_connections: usize = default_max_connections(),
        /// Number of unsent bytes that the kernel buffers for a client. 64 KiB by default; further bytes wait
        /// in the server, where [`max_buffered`](field@crate::EngineConfig::max_buffered) bounds them. Bytes
        /// in flight do not count, so the option reduces no throughput; without it, Linux buffers up to 4 MiB
        /// for a client that does not read. This is `TCP_NOTSENT_LOWAT` on Linux and Android; elsewhere it
        /// has no effect. Node has no such option.
        tcp_notsent_lowat: u32 = 64 * 1024,
        /// Pause after a failed accept, for example when the process has no descriptor left: another attempt
        /// would fail at once again. 50 milliseconds by default.
        accept_back_off: Duration = Duration::from_millis(50),
        /// Time that requests in progress have to finish after shutdown begins; then their connections are
        /// dropped. 5 seconds by default.
        drain_timeout: Duration = Duration::from_secs(5),
    }
}

impl ListenConfig {
    /// Panics if a limit or timeout is zero.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert!(!self.header_read_timeout.is_zero(), "header_read_timeout must not be zero");
        assert!(!self.keep_alive_timeout.is_zero(), "keep_alive_timeout must not be zero");
        assert!(!self.write_timeout.is_zero(), "write_timeout must not be zero");
        assert!(self.max_head > 0, "max_head must not be zero");
        assert!(self.max_headers > 0, "max_headers must not be zero");
        assert!(self.max_connections > 0, "max_connections must not be zero");
        assert!(self.tcp_notsent_lowat > 0, "tcp_notsent_lowat must not be zero");
    }
}
