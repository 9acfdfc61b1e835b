//! Engine.IO options, under the names of the Node.js server.

use std::time::Duration;

#[cfg(feature = "forwarding")]
use crate::Forwarding;
#[cfg(feature = "compression")]
use crate::{HttpCompression, PerMessageDeflate};
use crate::{
    SlowConsumerPolicy,
    config::{cookie::Cookie, cors::Cors, descriptors::default_max_connections, hooks::Hooks},
    proto::{frame::Frame, handshake::OpenPacket, packet::TransportKind, session::Timing, sid::Sid},
};

/// Defines a config struct from a table of options with their types, defaults and documentation. Each option
/// has a consuming setter of the same name. Setters of numbers, booleans and durations take the type itself;
/// other setters take `impl Into<T>`. An option after `@feature("x")` exists only with the cargo feature `x`.
/// Fields after `internal` have no setter. Not public API: `socketio` defines its own options with this macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __config {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(
                $(#[$doc:meta])*
                $(@feature($feature:literal))?
                $field:ident: $type:ident $(<$inner:ty>)? = $default:expr,
            )*
        }
        $(internal { $( $internal:ident: $internal_type:ty, )* })?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[cfg(feature = $feature)])? pub(crate) $field: $type $(<$inner>)?, )*
            $( $( pub(crate) $internal: $internal_type, )* )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $(#[cfg(feature = $feature)])? $field: $default, )*
                    $( $( $internal: Default::default(), )* )?
                }
            }
        }

        impl $name {
            $(
                $(#[$doc])*
                $(#[cfg(feature = $feature)])?
                #[must_use]
                pub fn $field(mut self, value: $crate::__config!(@value $type $(<$inner>)?)) -> Self {
                    self.$field = value.into();
                    self
                }
            )*
        }
    };
    // `Into` would leave the type of a number literal ambiguous.
    (@value usize) => { usize };
    (@value u64) => { u64 };
    (@value u32) => { u32 };
    (@value u8) => { u8 };
    (@value bool) => { bool };
    (@value Duration) => { Duration };
    (@value $type:ident $(<$inner:ty>)?) => { impl Into<$type $(<$inner>)?> };
}

__config! {
    /// The options of the Engine.IO layer. By default, every limit is finite except
    /// [`max_sessions_per_address`](Self::max_sessions_per_address).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use engineio::{EngineConfig, TransportKind};
    ///
    /// let config = EngineConfig::default()
    ///     .ping_interval(Duration::from_secs(10))
    ///     .transports([TransportKind::WebSocket]);
        /// ```
    EngineConfig {
        /// The time between the client's last pong and the next ping. Defaults to 25 seconds. Node.js calls
        /// this option `pingInterval`.
        ping_interval: Duration = Duration::from_secs(25),
        /// The time after a ping within which the client must send at least one byte; otherwise the session
        /// is closed. Defaults to 20 seconds. Node.js calls this option `pingTimeout`.
        ping_timeout: Duration = Duration::from_secs(20),
        /// The maximum duration of the upgrade of a polling session to WebSocket. Defaults to 10 seconds.
        /// Node.js calls this option `upgradeTimeout`.
        upgrade_timeout: Duration = Duration::from_secs(10),
        /// The time that a session closed by the server waits for the poll that delivers the close packet,
        /// and that a closed WebSocket waits for the close frame of the client. Defaults to 5 seconds.
        /// Node.js uses a fixed timeout of 30 seconds.
        close_timeout: Duration = Duration::from_secs(5),
        /// The time that [`Engine::close`](crate::Engine::close) waits for the tasks of sessions after it has
        /// closed all sessions. Tasks that still run after this time are aborted. Defaults to 10 seconds.
        /// Node.js does not wait.
        shutdown_timeout: Duration = Duration::from_secs(10),
        /// The time over which [`Engine::close`](crate::Engine::close) spreads the closing of WebSocket
        /// sessions. Each session is closed at a random moment, so that the clients do not all reconnect at
        /// once. Defaults to zero: all sessions are closed at once. Long-polling sessions are always closed
        /// at once.
        shutdown_spread: Duration = Duration::ZERO,
        /// The maximum size of a message, and of the body of a POST, in bytes. Defaults to 1,000,000. A
        /// client that sends more receives status 413 or close code 1009, and its session is closed. Node.js
        /// calls this option `maxHttpBufferSize`.
        max_http_buffer_size: usize = 1_000_000,
        /// The number of bytes that may be queued for one client indefinitely. Defaults to 1 MiB. A client
        /// with a longer queue has [`slow_consumer_grace`](Self::slow_consumer_grace) to catch up
        /// before it is disconnected as a slow consumer. Policies that drop messages apply beyond this limit.
        /// An empty queue accepts a message of any size. Frames of a broadcast count for each recipient,
        /// although they are stored once. Node.js has no such limit.
        max_buffered: usize = 1024 * 1024,
        /// The time for which more than [`max_buffered`](Self::max_buffered) bytes may be queued for a
        /// client that does not read `max_buffered` bytes in that time. Defaults to 30 seconds; then the
        /// client is disconnected as a slow consumer. A client that reads `max_buffered` bytes in each such
        /// period stays connected, whatever the size of its queue. Node.js has no such limit.
        slow_consumer_grace: Duration = Duration::from_secs(30),
        /// The maximum number of bytes queued for one client. Defaults to 64 MiB. Beyond this limit,
        /// [`send`](crate::SessionHandle::send) fails, and a message that must not be lost silently, such as
        /// a broadcast, closes the session. Node.js has no such limit.
        max_buffered_hard: usize = 64 * 1024 * 1024,
        /// The maximum number of bytes queued for all clients together. Defaults to 512 MiB. The limit
        /// measures memory: a broadcast counts once for all clients, and clients with short queues do not
        /// count. Beyond this limit, the server closes the sessions that have the longest queues and have
        /// read the least, and frees their messages at once. Messages for clients above `max_buffered` are
        /// then rejected, as they are above [`max_buffered_hard`](Self::max_buffered_hard). Node.js has no
        /// such limit.
        max_buffered_total: usize = 512 * 1024 * 1024,
        /// The policy for droppable messages, such as events without an acknowledgement, when the queue of
        /// the client is full. By default, the client is disconnected. If the message must not be lost, the
        /// client is disconnected whatever the policy. Node.js has no such policy.
        slow_consumer: SlowConsumerPolicy = SlowConsumerPolicy::Disconnect,
        /// The maximum time for which a WebSocket client may read no byte while data is queued for it.
        /// Defaults to 15 seconds; then the client is disconnected as a slow consumer. Node.js has no such
        /// limit except the heartbeat.
        write_timeout: Duration = Duration::from_secs(15),
        /// The maximum number of fragments of one WebSocket message. Defaults to 1,024. More fragments are
        /// accepted only if their average size is at least 32 bytes; otherwise the client is disconnected
        /// with close code 1008. Node.js uses a fixed limit of 16,384.
        max_fragments: usize = 1024,
        /// The maximum time to receive a WebSocket message, from its first byte to its last. Defaults to 30
        /// seconds; then the client is disconnected with close code 1008. Time during which the application
        /// accepts no messages does not count. Node.js has no such limit.
        message_timeout: Duration = Duration::from_secs(30),
        /// The number of WebSocket pings per second to which the server responds for one client. Defaults to
        /// 10. A client that sends more than ten times as many is disconnected with close code 1008. The
        /// heartbeat does not count, because it consists of messages. Node.js has no such limit.
        max_pings_per_second: u32 = 10,
        /// The maximum time for which a session may stop reading because the application accepts no more
        /// messages from its client, for example because handlers do not return. Defaults to 5 minutes; then
        /// the session is closed with a ping timeout, because the server cannot detect whether the client is
        /// alive without reading from it. The server continues to send heartbeats during the pause. Node.js
        /// never stops reading.
        read_pause_timeout: Duration = Duration::from_mins(5),
        /// The maximum pause while receiving the body of a POST. Defaults to 30 seconds; then the client
        /// receives status 408 and its session is closed. Node.js has no such limit.
        body_timeout: Duration = Duration::from_secs(30),
        /// The minimum rate of the body of a POST in bytes per second, averaged from its start; the first
        /// [`body_timeout`](Self::body_timeout) does not count. Defaults to 1,024; zero disables the
        /// limit. A slower client receives status 408 and its session is closed. Node.js has no such limit.
        min_body_rate: u32 = 1024,
        /// The maximum number of sessions. Defaults to 0.9 of the files that the process may open (the soft
        /// limit `RLIMIT_NOFILE`), but at most one million. Beyond this limit, a
        /// [pending](Self::max_pending_sessions) session is evicted. If no session is pending, new
        /// clients receive status 503 with `Retry-After`; a WebSocket handshake receives it instead of a 101.
        /// Node.js has no such limit.
        max_sessions: usize = default_max_connections(),
        /// The maximum number of pending sessions. Defaults to 65,536; must not be zero. Beyond this limit,
        /// and when [`max_sessions`](Self::max_sessions) are open, a new session replaces the oldest
        /// pending session, which is closed with [`CloseReason::Evicted`](crate::CloseReason::Evicted). A
        /// session is pending until its client has sent another request or opened a WebSocket, and the
        /// application has [confirmed](crate::Connection::is_established) the session. `socketio` confirms a
        /// session when its client has joined a namespace. Node.js has no such limit.
        max_pending_sessions: usize = 65_536,
        /// The maximum number of open sessions, and of new sessions per second, for one address. An IPv6
        /// network of 64 bits counts as one address. Defaults to `u32::MAX`, which disables the limit. Beyond
        /// this limit, clients receive status 429 with `Retry-After`. The limit requires
        /// [`RemoteAddr`](crate::RemoteAddr). Behind a proxy, all clients share the address of the proxy: set
        /// this limit only if a layer provides the address of the client. Node.js has no such limit.
        max_sessions_per_address: u32 = u32::MAX,
        /// The maximum number of new sessions per second, and of new sessions in a burst after one idle
        /// second. Defaults to 50,000, which is more than one core can open, so the hardware is the limit; a
        /// measured capacity is a better value. Beyond this limit, clients receive status 503 with
        /// `Retry-After`. All clients share the limit, and a single client could exhaust it unless
        /// [`max_sessions_per_address`](Self::max_sessions_per_address) is set. Node.js has no such
        /// limit.
        max_handshakes_per_second: u32 = 50_000,
        /// The maximum number of handshakes that one connection may pipeline, that is, send before it has
        /// received the response to its previous request. Defaults to 4. Beyond this limit, the client
        /// receives status 429 with `Retry-After`, and the connection is closed. Requests that follow the
        /// response to the previous request do not count, so a proxy may open any number of sessions for its
        /// users over one connection. Neither proxies nor browsers pipeline. Only the accept loop of
        /// [`serve`](crate::serve) detects pipelining; behind another server, the limit has no effect.
        /// Node.js has no such limit.
        max_pipelined_handshakes: u32 = 4,
        /// The transports that clients may use. Defaults to both. Node.js calls this option `transports`.
        transports: Vec<TransportKind> = vec![TransportKind::Polling, TransportKind::WebSocket],
        /// `true` if a polling session may be upgraded to WebSocket. Defaults to `true`. In Node.js:
        /// `allowUpgrades`, default `true`, which only omits the upgrade from the handshake; this server also
        /// rejects the upgrade request.
        allow_upgrades: bool = true,
        /// The message that every client receives first, together with the open packet of its session.
        /// `None`, the default, sends no such message. Node.js calls this option `initialPacket`.
        initial_packet: Option<Frame> = None,
        /// The origins of web pages that may connect, over every transport. Defaults to only the origin of
        /// the server itself. Node.js calls this option `cors`.
        cors: Cors = Cors::same_origin(),
        /// The cookie that a client receives when its session opens. `None`, the default, sends no cookie.
        /// Node.js calls this option `cookie`.
        cookie: Option<Cookie> = None,
        /// `true` if the server also supports clients of protocol 3, such as Socket.IO 2, and polling by
        /// scripts (JSONP) for old browsers. Defaults to `false`. Old browsers allow any page to load such a
        /// script with the user's cookies, and do not send the origin of that page. With this option, do not
        /// rely on a cookie alone to authenticate a client. Newer browsers report that a script is loaded by
        /// a page of another origin, but do not name the origin; only [`Cors::any`] accepts these requests.
        /// Node.js calls this option `allowEIO3`, and always supports JSONP for protocol 4.
        allow_eio3: bool = false,
        /// The options for compressing WebSocket messages, for clients that offer permessage-deflate. `None`,
        /// the default, disables compression. With the cargo feature `compression`. Node.js calls this
        /// option `perMessageDeflate`.
        @feature("compression")
        per_message_deflate: Option<PerMessageDeflate> = None,
        /// The options for compressing long-polling responses. `None`, the default, disables compression.
        /// With the cargo feature `compression`. Node.js calls this option `httpCompression`, and
        /// compresses responses by default.
        @feature("compression")
        http_compression: Option<HttpCompression> = None,
        /// Forwards requests for the sessions of other servers of the cluster. `None`, the default, rejects them:
        /// the load balancer then needs sticky sessions. With the cargo feature `forwarding`. Node.js has no such
        /// option.
        @feature("forwarding")
        forwarding: Option<Forwarding> = None,
    }
    internal {
        hooks: Hooks,
    }
}

/// Values that an [`Application`](crate::Application) needs. Other options have no getter: who sets a value knows it.
impl EngineConfig {
    /// Returns the value of [`cors`](Self::cors).
    pub fn get_cors(&self) -> &Cors {
        &self.cors
    }

    /// Returns the value of [`max_buffered`](Self::max_buffered).
    pub fn get_max_buffered(&self) -> usize {
        self.max_buffered
    }

    /// Returns the value of [`max_http_buffer_size`](Self::max_http_buffer_size).
    pub fn get_max_http_buffer_size(&self) -> usize {
        self.max_http_buffer_size
    }

    /// Returns the value of [`max_sessions`](Self::max_sessions). The default depends on the process.
    pub fn get_max_sessions(&self) -> usize {
        self.max_sessions
    }

    /// Returns the value of [`shutdown_spread`](Self::shutdown_spread).
    pub fn get_shutdown_spread(&self) -> Duration {
        self.shutdown_spread
    }

    /// Returns the value of [`shutdown_timeout`](Self::shutdown_timeout).
    pub fn get_shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }

    /// Returns the value of [`slow_consumer`](Self::slow_consumer).
    pub fn get_slow_consumer(&self) -> SlowConsumerPolicy {
        self.slow_consumer
    }

    /// Returns the value of [`http_compression`](Self::http_compression).
    #[cfg(feature = "compression")]
    pub fn get_http_compression(&self) -> Option<&HttpCompression> {
        self.http_compression.as_ref()
    }
}

impl EngineConfig {
    /// Returns the options that the state machine of a session reads.
    pub(crate) fn timing(&self) -> Timing {
        let &Self { ping_interval, ping_timeout, upgrade_timeout, close_timeout, .. } = self;
        Timing { ping_interval, ping_timeout, upgrade_timeout, close_timeout }
    }

    /// Returns the content of the open packet of a session that starts on this transport.
    pub(crate) fn open_packet<'a>(&'a self, sid: &'a Sid, transport: TransportKind) -> OpenPacket<'a> {
        OpenPacket {
            sid,
            #[cfg(feature = "forwarding")]
            server: self.forwarding.as_ref().map_or("", Forwarding::suffix),
            #[cfg(not(feature = "forwarding"))]
            server: "",
            may_upgrade: transport == TransportKind::Polling
                && self.allow_upgrades
                && self.transports.contains(&TransportKind::WebSocket),
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            max_payload: self.max_http_buffer_size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_offered_to_polling_if_websocket_is_allowed() {
        let sid = Sid::random();
        let offers = |config: &EngineConfig, transport| config.open_packet(&sid, transport).may_upgrade;
        let config = EngineConfig::default();
        assert!(offers(&config, TransportKind::Polling));
        assert!(!offers(&config, TransportKind::WebSocket));
        assert!(!offers(&config.clone().allow_upgrades(false), TransportKind::Polling));
        assert!(!offers(&config.transports([TransportKind::Polling]), TransportKind::Polling));
    }
}
