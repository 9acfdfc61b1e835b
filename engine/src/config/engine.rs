//! Engine.IO options, under the names of the Node.js server.

use std::time::Duration;

use crate::{
    HttpCompression, PerMessageDeflate, SlowConsumerPolicy,
    config::{cookie::Cookie, cors::Cors, descriptors::default_max_connections, hooks::Hooks},
    proto::{frame::Frame, handshake::OpenPacket, packet::TransportKind, session::Timing, sid::Sid},
};

/// Defines a config struct from a table of fields, each with its type, default and documentation, and a
/// consuming setter of the same name. Setters of numbers take the number type itself, all others `impl
/// Into<T>`. Not public API: `socketio` defines its own options with it.
#[doc(hidden)]
#[macro_export]
macro_rules! __config {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$doc:meta])* $field:ident: $type:ident $(<$inner:ty>)? = $default:expr, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct $name { $( $(#[$doc])* pub $field: $type $(<$inner>)?, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $name {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
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
    (@value $type:ident $(<$inner:ty>)?) => { impl Into<$type $(<$inner>)?> };
}

__config! {
    /// The options of the Engine.IO layer. Every limit is finite by default.
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
    /// assert_eq!(config.ping_timeout, Duration::from_secs(20));
    /// ```
    EngineConfig {
        /// Time between the client's last pong and the next ping. 25 seconds by default. Node:
        /// `pingInterval`.
        ping_interval: Duration = Duration::from_secs(25),
        /// Time after a ping within which the client must send at least one byte; otherwise the session ends.
        /// 20 seconds by default. Node: `pingTimeout`.
        ping_timeout: Duration = Duration::from_secs(20),
        /// Maximum duration of the upgrade of a polling session to WebSocket. 10 seconds by default. Node:
        /// `upgradeTimeout`.
        upgrade_timeout: Duration = Duration::from_secs(10),
        /// Time that a session closed by the server waits for the poll that delivers the close packet, and
        /// that a closed WebSocket waits for the client's close. 5 seconds by default; Node: 30 seconds,
        /// fixed.
        close_timeout: Duration = Duration::from_secs(5),
        /// Time that [`Engine::close`](crate::Engine::close) waits for the tasks of sessions after it has
        /// closed them; then they are aborted. 10 seconds by default. Node does not wait.
        shutdown_timeout: Duration = Duration::from_secs(10),
        /// Time over which [`Engine::close`](crate::Engine::close) spreads the closing of WebSocket sessions,
        /// each at a random moment, so that their clients do not all reconnect at once. Zero by default: all
        /// are closed at once. Long-polling sessions are always closed at once.
        shutdown_spread: Duration = Duration::ZERO,
        /// Maximum size of a message, and of the body of a POST, in bytes. 1,000,000 by default. A client
        /// that sends more gets status 413 or close code 1009, and its session ends. Node:
        /// `maxHttpBufferSize`.
        max_http_buffer_size: usize = 1_000_000,
        /// Number of bytes that may be queued for one client indefinitely. 1 MiB by default. A longer queue
        /// does not make the client a slow consumer at once: it has
        /// [`slow_consumer_grace`](field@Self::slow_consumer_grace) to catch up. Policies that drop messages
        /// apply beyond this limit. An empty queue accepts a message of any size. Frames of a broadcast count
        /// for each recipient, although they are stored once. Node has no limit.
        max_buffered: usize = 1024 * 1024,
        /// Time for which more than [`max_buffered`](field@Self::max_buffered) bytes may be queued for a
        /// client that does not read as many in that time. 30 seconds by default; then the client is
        /// disconnected as a slow consumer. A client that reads `max_buffered` bytes in each such period is
        /// kept, whatever the size of its queue. Node has no limit.
        slow_consumer_grace: Duration = Duration::from_secs(30),
        /// Maximum number of bytes queued for one client. 64 MiB by default. Beyond it,
        /// [`send`](crate::SessionHandle::send) fails, and a message that must not be lost silently, such as
        /// a broadcast, ends the session. Node has no limit.
        max_buffered_hard: usize = 64 * 1024 * 1024,
        /// Maximum number of bytes queued for all clients together. 512 MiB by default. The limit measures
        /// memory: a broadcast counts once, whatever the number of clients it is queued for, and clients with
        /// short queues do not count. Beyond it, the sessions with the longest queues that have read the
        /// least are closed, and messages for clients above `max_buffered` are rejected as above
        /// [`max_buffered_hard`](field@Self::max_buffered_hard). Node has no limit.
        max_buffered_total: usize = 512 * 1024 * 1024,
        /// Policy for droppable messages, such as events without an acknowledgement, when the client's queue
        /// is full. The client is disconnected by default, and in any case if the message must not be lost.
        /// Node has no such policy.
        slow_consumer: SlowConsumerPolicy = SlowConsumerPolicy::Disconnect,
        /// Maximum time for which a WebSocket client may read no byte while data is queued for it. 15 seconds
        /// by default; then the client is disconnected as a slow consumer. Node has no limit but the
        /// heartbeat.
        write_timeout: Duration = Duration::from_secs(15),
        /// Maximum number of fragments of one WebSocket message. 1,024 by default. More are accepted only if
        /// they contain 32 bytes on average; otherwise the client is disconnected with close code 1008. Node:
        /// 16,384, fixed.
        max_fragments: usize = 1024,
        /// Maximum time to receive a WebSocket message, from its first byte to its last. 30 seconds by
        /// default; then the client is disconnected with close code 1008. Time during which the application
        /// accepts no messages does not count. Node has no limit.
        message_timeout: Duration = Duration::from_secs(30),
        /// Number of WebSocket pings per second that are answered for one client. 10 by default; a client
        /// that sends more than ten times as many is disconnected with close code 1008. The heartbeat does
        /// not count: it consists of messages. Node has no limit.
        max_pings_per_second: u32 = 10,
        /// Maximum time for which a session may stop reading because the application accepts no more messages
        /// from its client, for example while handlers do not return. 5 minutes by default; then the session
        /// ends with a ping timeout, because a client that is not read from cannot be known to be alive.
        /// Heartbeats are sent meanwhile. Node never stops reading.
        read_pause_timeout: Duration = Duration::from_mins(5),
        /// Maximum pause while receiving the body of a POST. 30 seconds by default; then the client gets
        /// status 408 and its session ends. Node has no limit.
        body_timeout: Duration = Duration::from_secs(30),
        /// Minimum rate of the body of a POST in bytes per second, on average since its start; the first
        /// [`body_timeout`](field@Self::body_timeout) does not count. 1,024 by default, 0 for no limit; a
        /// slower client gets status 408 and its session ends. Node has no limit.
        min_body_rate: u32 = 1024,
        /// Maximum number of sessions. By default 0.9 of the files that the process may open (the soft limit
        /// `RLIMIT_NOFILE`), at most one million. Beyond it, a [pending](field@Self::max_pending_sessions)
        /// session is evicted; if there is none, clients get status 503 with `Retry-After`, on every
        /// transport and before any 101. Node has no limit.
        max_sessions: usize = default_max_connections(),
        /// Maximum number of pending sessions. 65,536 by default. Beyond it, and when
        /// [`max_sessions`](field@Self::max_sessions) are open, the oldest pending session is evicted in
        /// favor of a new one, with [`CloseReason::Evicted`](crate::CloseReason::Evicted). A session is
        /// pending until its client has sent another request or has a WebSocket, and the application has
        /// [confirmed](crate::Connection::is_established) it; `socketio` does so when the client has joined a
        /// namespace. Must not be zero. Node has no limit.
        max_pending_sessions: usize = 65_536,
        /// Maximum number of open sessions, and of new sessions per second, for one address; an IPv6 network
        /// of 64 bits is one address. `u32::MAX`, which is no limit, by default. Beyond it, clients get
        /// status 429 with `Retry-After`. The limit needs [`RemoteAddr`](crate::RemoteAddr). Behind a proxy,
        /// whose address all clients would share, set it only if a layer provides the client's address. Node
        /// has no limit.
        max_sessions_per_address: u32 = u32::MAX,
        /// Maximum number of new sessions per second, and the burst that is allowed after one idle second.
        /// 50,000 by default, which is more than one core can open, so that the hardware is the limit; a
        /// measured capacity is a better value. Beyond it, clients get status 503 with `Retry-After`. All
        /// clients share the limit, and a single one could use it up unless
        /// [`max_sessions_per_address`](field@Self::max_sessions_per_address) is set. Node has no limit.
        max_handshakes_per_second: u32 = 50_000,
        /// Maximum number of handshakes that one connection may pipeline, that is, send before it has
        /// received the response to its previous request. 4 by default. Beyond it, the client gets status 429
        /// with `Retry-After`, and the connection is closed. Requests that follow the response to the
        /// previous one do not count, so a proxy may open any number of sessions for its users over one
        /// connection: neither proxies nor browsers pipeline. Only the accept loop of [`serve`](crate::serve)
        /// detects pipelining; behind another server there is no such limit. Node has no limit.
        max_pipelined_handshakes: u32 = 4,
        /// Transports that clients may use. Both by default. Node: `transports`.
        transports: Vec<TransportKind> = vec![TransportKind::Polling, TransportKind::WebSocket],
        /// `true` if a polling session may be upgraded to WebSocket. `true` by default. Node:
        /// `allowUpgrades`, which only hides the upgrade from well-behaved clients; here, the server also
        /// rejects it.
        allow_upgrades: bool = true,
        /// Message that every client receives first, together with the open packet of its session. None by
        /// default. Node: `initialPacket`.
        initial_packet: Option<Frame> = None,
        /// Origins of web pages that may connect, over every transport. Only the server's own origin by
        /// default. Node: `cors`.
        cors: Cors = Cors::same_origin(),
        /// Cookie that a client receives when its session opens. None by default. Node: `cookie`.
        cookie: Option<Cookie> = None,
        /// Hooks of the application that inspect requests. None by default; each has its own setter.
        hooks: Hooks = Hooks::default(),
        /// `true` if clients of protocol 3, such as Socket.IO 2, are served too, as well as polling by
        /// scripts (JSONP) for old browsers. `false` by default. Old browsers let any page load such a script
        /// with the user's cookies, and do not send the origin of that page: with this option, do not let a
        /// cookie alone authenticate a client. Newer browsers report that the page has another origin, but not
        /// which one: then only [`Cors::any`] accepts it. Node: `allowEIO3`; there, JSONP is always on for protocol 4.
        allow_eio3: bool = false,
        /// Options for compressing WebSocket messages, for clients that offer it. `None` by default: messages
        /// are not compressed. Needs the cargo feature `compression`. Node: `perMessageDeflate`.
        per_message_deflate: Option<PerMessageDeflate> = None,
        /// Options for compressing long-polling responses. `None` by default: responses are not compressed;
        /// in Node they are. Needs the cargo feature `compression`. Node: `httpCompression`.
        http_compression: Option<HttpCompression> = None,
    }
}

impl EngineConfig {
    /// Returns the options that the state machine of a session reads.
    pub(crate) fn timing(&self) -> Timing {
        let &Self { ping_interval, ping_timeout, upgrade_timeout, close_timeout, .. } = self;
        Timing { ping_interval, ping_timeout, upgrade_timeout, close_timeout }
    }

    /// Returns the content of the open packet of a session that starts on this transport.
    pub(crate) fn open_packet<'a>(&self, sid: &'a Sid, transport: TransportKind) -> OpenPacket<'a> {
        OpenPacket {
            sid,
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
