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
        /// The maximum time to receive the head of a request, measured from its first byte, or, for the first
        /// request of a connection, from the time when the connection was accepted. Defaults to 10 seconds.
        /// Then the connection is closed, with status 408 if a part of the head has arrived. Node.js calls
        /// this option `headersTimeout` of the HTTP server.
        header_read_timeout: Duration = Duration::from_secs(10),
        /// The maximum idle time of a connection between two requests. Load balancers keep an idle connection
        /// for 60 seconds. If the server closed the connection first, a request might be in transit, and its
        /// client would receive a 502. The default is therefore 75 seconds. In Node.js: `keepAliveTimeout` of
        /// the HTTP server, default 5 s.
        keep_alive_timeout: Duration = Duration::from_secs(75),
        /// The maximum time for which a client may read nothing of a pending response, or, over HTTP/2, less than
        /// 16 KiB of all responses that wait for it. Defaults to 15 seconds; then its connection is closed.
        write_timeout: Duration = Duration::from_secs(15),
        /// The maximum size of a request head, in bytes. Defaults to 16 KiB. Larger heads are rejected with
        /// status 431. Node.js calls this option `maxHeaderSize` of the HTTP server.
        max_head: usize = 16 * 1024,
        /// The maximum number of request headers. Defaults to 100. Requests with more headers are rejected
        /// with status 431. Node.js calls this option `maxHeadersCount` of the HTTP server.
        max_headers: usize = 100,
        /// The maximum number of concurrent requests on an HTTP/2 connection. Defaults to 128. Clients wait before
        /// they send more. Node.js calls this option `maxConcurrentStreams` of the HTTP/2 server.
        http2_max_streams: u32 = 128,
        /// Answers plain requests to the engine before they reach hyper, see
        /// [`Serve::with_short_path`](crate::Serve::with_short_path). Defaults to `true`. Without it, hyper serves every request,
        /// which costs more memory and CPU time. Node.js has no such option.
        short_path: bool = true,
        /// The maximum number of open connections, including connections upgraded to WebSocket. Defaults to
        /// nine tenths of the descriptors that the process may open (the soft limit `RLIMIT_NOFILE` when the
        /// config is created), but at most one million. Beyond this limit, a client receives status 503 with
        /// `Retry-After`, and its connection is closed. At most 64 clients receive this response at the same
        /// time; further connections are closed without a response. Node.js calls this option
        /// `maxConnections` of the HTTP server.
        max_connections: usize = default_max_connections(),
        /// The number of unsent bytes that the kernel buffers for a client. Defaults to 64 KiB. Further bytes
        /// wait in the server, where [`max_buffered`](crate::EngineConfig::max_buffered) limits them.
        /// Bytes in flight do not count, so the option does not reduce throughput. Without it, Linux buffers
        /// up to 4 MiB for a client that does not read. The option sets `TCP_NOTSENT_LOWAT` on Linux and
        /// Android, and has no effect on other systems. Node.js has no such option.
        tcp_notsent_lowat: u32 = 64 * 1024,
        /// The pause after a failed accept. Another attempt would fail immediately, for example while the
        /// process has no descriptor left. Defaults to 50 milliseconds.
        accept_back_off: Duration = Duration::from_millis(50),
        /// The time that requests in progress have to finish after shutdown begins; then their connections
        /// are dropped. Defaults to 5 seconds.
        drain_timeout: Duration = Duration::from_secs(5),
    }
}

/// Values that a [`Listener`](crate::Listener) and a server need. Other options have no getter: who sets a value knows it.
impl ListenConfig {
    /// Returns the value of [`drain_timeout`](Self::drain_timeout).
    pub fn get_drain_timeout(&self) -> Duration {
        self.drain_timeout
    }

    /// Returns the value of [`max_connections`](Self::max_connections).
    pub fn get_max_connections(&self) -> usize {
        self.max_connections
    }

    /// Returns the value of [`max_head`](Self::max_head).
    pub fn get_max_head(&self) -> usize {
        self.max_head
    }

    /// Returns the value of [`tcp_notsent_lowat`](Self::tcp_notsent_lowat).
    pub fn get_tcp_notsent_lowat(&self) -> u32 {
        self.tcp_notsent_lowat
    }
}

impl ListenConfig {
    /// Panics if a limit, or a timeout other than `drain_timeout`, is zero.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert!(!self.header_read_timeout.is_zero(), "header_read_timeout must not be zero");
        assert!(!self.keep_alive_timeout.is_zero(), "keep_alive_timeout must not be zero");
        assert!(!self.write_timeout.is_zero(), "write_timeout must not be zero");
        assert!(self.max_head > 0, "max_head must not be zero");
        assert!(self.max_headers > 0, "max_headers must not be zero");
        assert!(self.http2_max_streams > 0, "http2_max_streams must not be zero");
        assert!(self.max_connections > 0, "max_connections must not be zero");
        assert!(self.tcp_notsent_lowat > 0, "tcp_notsent_lowat must not be zero");
    }
}
