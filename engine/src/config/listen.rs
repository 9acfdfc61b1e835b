//! The options of the accept loop.

use std::time::Duration;

use crate::config::descriptors::connections_of_descriptors;

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
        /// How long a client may take to send the head of a request, from its first byte on; for the first request of
        /// a connection, from the time it was accepted. 10 seconds by default; then the answer is 408 if any
        /// of it has come, and the connection is closed. Node: `headersTimeout` of the HTTP server.
        header_read_timeout: Duration = Duration::from_secs(10),
        /// How long a connection may stay open between two requests. 75 seconds by default: load balancers keep an idle
        /// connection for 60 seconds, and the server must not be the one that closes it, while a request may be on its
        /// way; clients would get a 502 for that. Node: `keepAliveTimeout` of the HTTP server, 5 seconds.
        keep_alive_timeout: Duration = Duration::from_secs(75),
        /// How long a client may take nothing of an answer that waits for it. 15 seconds by default; then its connection
        /// is closed.
        write_timeout: Duration = Duration::from_secs(15),
        /// The largest head of a request, in bytes. 16 KiB by default; beyond, the answer is 431. Node:
        /// `maxHeaderSize` of the HTTP server.
        max_head: usize = 16 * 1024,
        /// The most headers of a request. 100 by default; beyond, the answer is 431. Node: `maxHeadersCount` of the HTTP
        /// server.
        max_headers: usize = 100,
        /// The most connections at once, those that have become a WebSocket included. By default nine tenths of the
        /// descriptors that the process may open (the soft limit `RLIMIT_NOFILE` at the time of the call), and one
        /// million at most. Beyond, a client is answered with 503 and `Retry-After`, and its connection closed; when
        /// 64 clients at once are being told so, others are closed without an answer. Node: `maxConnections` of the
        /// HTTP server.
        max_connections: usize = connections_of_descriptors(),
        /// The bytes for a client that the system takes although it cannot send them yet. 64 KiB by default; beyond, they
        /// wait in the server, where [`max_buffered`](field@crate::EngineConfig::max_buffered) bounds them. What is on its
        /// way comes on top, so that this slows nobody down; without it, Linux takes up to 4 MiB for a client that does not
        /// read. The option `TCP_NOTSENT_LOWAT` of TCP sockets on Linux and Android; elsewhere it has no effect. Node has
        /// no such option.
        tcp_notsent_lowat: u32 = 64 * 1024,
        /// How long the loop rests when it cannot accept, as when the process has no descriptor left: another attempt
        /// would fail at once again. 50 milliseconds by default.
        accept_back_off: Duration = Duration::from_millis(50),
        /// How long requests may go on after the end was asked for; then their connections are dropped. 5 seconds by
        /// default.
        drain_timeout: Duration = Duration::from_secs(5),
    }
}

impl ListenConfig {
    /// Finds mistakes that would make a server useless.
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
