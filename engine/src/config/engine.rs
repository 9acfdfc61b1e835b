//! The options of the Engine.IO layer, under the names of the Node.js server.

use std::time::Duration;

use crate::{
    HttpCompression, PerMessageDeflate, SlowConsumerPolicy,
    config::{cookie::Cookie, cors::Cors, descriptors::connections_of_descriptors, hooks::Hooks},
    proto::{frame::Frame, handshake::OpenPacket, packet::TransportKind, session::Timing, sid::Sid},
};

/// Defines a config struct from one table: each field with its type, its default and its documentation, and a
/// consuming setter of the same name: numbers are taken as they are, all else by `Into`. Not public API: `socketio` defines its own options with it.
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
    // A literal has no type of its own, and `Into` does not give it one.
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
        /// How long after the client's last pong the next ping is sent. 25 seconds by default. Node: `pingInterval`.
        ping_interval: Duration = Duration::from_secs(25),
        /// How long after a ping the session lives without a byte from the client. 20 seconds by default. Node:
        /// `pingTimeout`.
        ping_timeout: Duration = Duration::from_secs(20),
        /// How long a WebSocket may take to take over a polling session. 10 seconds by default. Node:
        /// `upgradeTimeout`.
        upgrade_timeout: Duration = Duration::from_secs(10),
        /// How long a session that the server closed waits for the poll that tells the client, and a closed
        /// WebSocket for the client's side to close. 5 seconds by default; Node has 30 seconds, fixed.
        close_timeout: Duration = Duration::from_secs(5),
        /// How long [`Engine::close`](crate::Engine::close) waits for what runs for sessions that it has told of the
        /// end; then it is aborted. 10 seconds by default. Node waits for nothing.
        shutdown_timeout: Duration = Duration::from_secs(10),
        /// Over how long [`Engine::close`](crate::Engine::close) tells WebSocket sessions of the end, each at a random
        /// moment, so that their clients do not all reconnect at once. Zero by default: all are told at once. Those over
        /// long-polling always are.
        shutdown_spread: Duration = Duration::ZERO,
        /// The largest message, and the largest body of a POST, in bytes. 1,000,000 by default. A client that sends
        /// more gets status 413 or close code 1009, and its session ends. Node: `maxHttpBufferSize`.
        max_http_buffer_size: usize = 1_000_000,
        /// The bytes that may wait for one client without a limit in time. 1 MiB by default. A client for which more
        /// wait is not slow at once: it has [`slow_consumer_grace`](field@Self::slow_consumer_grace) to catch up. Policies
        /// that drop messages do so beyond this limit. A message is always taken when nothing else waits, whatever its
        /// size. Frames of a broadcast count for each recipient, though they exist once. Node has no limit.
        max_buffered: usize = 1024 * 1024,
        /// How long more than [`max_buffered`](field@Self::max_buffered) bytes may wait for a client that does not take
        /// as many in that time. 30 seconds by default; then it is disconnected as a slow consumer. So a client is kept
        /// at any size of the queue if it reads `max_buffered` bytes in each such time. Node has no limit.
        slow_consumer_grace: Duration = Duration::from_secs(30),
        /// The bytes that may wait for one client at any time. 64 MiB by default. Beyond,
        /// [`send`](crate::SessionHandle::send) fails, and what must not be missed without a sign, such as a broadcast,
        /// ends the session. Node has no limit.
        max_buffered_hard: usize = 64 * 1024 * 1024,
        /// The bytes that may wait for all clients together. 512 MiB by default. They are bytes of memory: a broadcast
        /// counts once, however many clients it waits for, and a client for which little waits does not count. Beyond,
        /// the sessions that hold most and have taken least are ended, and messages for clients that are above
        /// `max_buffered` are refused as above [`max_buffered_hard`](field@Self::max_buffered_hard). Node has no limit.
        max_buffered_total: usize = 512 * 1024 * 1024,
        /// What happens to messages that may be dropped, such as events that nobody acknowledges, when the client does
        /// not take those before. It is disconnected by default; it is in any case if a message must not be lost. Node
        /// has no such policy.
        slow_consumer: SlowConsumerPolicy = SlowConsumerPolicy::Disconnect,
        /// How long a WebSocket client may take no byte while some wait for it. 15 seconds by default; then it is
        /// disconnected as a slow consumer. Node has no limit but the heartbeat.
        write_timeout: Duration = Duration::from_secs(15),
        /// The fragments of one WebSocket message. 1,024 by default; more are taken only if they have 32 bytes on
        /// average, and the client is disconnected with close code 1008 otherwise. Node: 16,384, fixed.
        max_fragments: usize = 1024,
        /// How long a WebSocket message may take to come, from its first byte to its last. 30 seconds by default; then
        /// the client is disconnected with close code 1008. While the application takes no message, the time does not
        /// count. Node has no limit.
        message_timeout: Duration = Duration::from_secs(30),
        /// The WebSocket pings that are answered to one client in a second. 10 by default; a client that sends more
        /// than ten times as many is disconnected with close code 1008. Not the heartbeat, which is made of messages.
        /// Node has no limit.
        max_pings_per_second: u32 = 10,
        /// How long a session may go without reading because the application takes no more messages of its client, as
        /// when handlers do not return. 5 minutes by default; then it ends with a ping timeout, since a client that is
        /// not read cannot be known to live. The heartbeat goes on meanwhile. Node reads always.
        read_pause_timeout: Duration = Duration::from_mins(5),
        /// How long the body of a POST may pause. 30 seconds by default; then the client gets status 408 and its
        /// session ends. Node has no limit.
        body_timeout: Duration = Duration::from_secs(30),
        /// How many bytes of the body of a POST must come in a second, on average since its start; the first
        /// [`body_timeout`](field@Self::body_timeout) is free. 1,024 by default, 0 for no limit; a slower client gets
        /// status 408 and its session ends. Node has no limit.
        min_body_rate: u32 = 1024,
        /// The sessions of the server. By default 0.9 of the files that the process may open (the soft limit
        /// `RLIMIT_NOFILE`), one million at most. Beyond, a [pending](field@Self::max_pending_sessions) one gives way; if
        /// there is none, clients get status 503 with `Retry-After`, on every transport and before any 101. Node has no
        /// limit.
        max_sessions: usize = connections_of_descriptors(),
        /// The sessions that may be pending. 65,536 by default; beyond, and when [`max_sessions`](field@Self::max_sessions)
        /// are open, the oldest of them gives way to a new one, with
        /// [`CloseReason::Evicted`](crate::CloseReason::Evicted). A session is pending until its client has sent another
        /// request, or has a WebSocket, and the application has
        /// [confirmed](crate::Connection::is_established) it: that of `socketio` does so when the client has joined a
        /// namespace. Must not be zero. Node has no limit.
        max_pending_sessions: usize = 65_536,
        /// The sessions of one address, and how many of it may begin in a second; of IPv6, a network of 64 bits is one
        /// address. `u32::MAX`, which is no limit, by default. Beyond, clients get status 429 with `Retry-After`. It needs
        /// [`RemoteAddr`](crate::RemoteAddr): behind a proxy, whose address all clients would share, set it only if a
        /// layer tells theirs. Node has no limit.
        max_sessions_per_address: u32 = u32::MAX,
        /// The sessions that may begin in a second; up to so many at once, after a second of rest. 50,000 by default,
        /// which is more than one core can do, so that it is the machine that decides; what a server has been measured
        /// to stand is a better value. Beyond, clients get status 503 with `Retry-After`. All clients share it, so that one
        /// could take all of it: [`max_sessions_per_address`](field@Self::max_sessions_per_address) is what keeps it from
        /// that. Node has no limit.
        max_handshakes_per_second: u32 = 50_000,
        /// The sessions that one connection may ask for ahead of the answers to the requests in front of them. 4 by
        /// default; beyond, the client gets status 429 with `Retry-After`, and the connection is closed. Requests that
        /// follow the answer to the one before do not count, so a proxy may open any number of sessions for its users
        /// over one connection: it does not pipeline, and neither do browsers. Only the accept loop of
        /// [`serve`](crate::serve) knows what was pipelined; behind another server there is no such limit. Node has no
        /// limit.
        max_pipelined_handshakes: u32 = 4,
        /// The transports that clients may use. Both by default. Node: `transports`.
        transports: Vec<TransportKind> = vec![TransportKind::Polling, TransportKind::WebSocket],
        /// Whether a polling session may be taken over by a WebSocket. `true` by default. Node: `allowUpgrades`,
        /// which there only hides the upgrade from well-behaved clients; here an upgrade is refused too.
        allow_upgrades: bool = true,
        /// A message that every client gets first, with the packet that opens its session. None by default. Node:
        /// `initialPacket`.
        initial_packet: Option<Frame> = None,
        /// Which web pages may connect, over every transport. Those of the server itself by default. Node: `cors`.
        cors: Cors = Cors::same_origin(),
        /// The cookie that a client gets with its session. None by default. Node: `cookie`.
        cookie: Option<Cookie> = None,
        /// Functions of the application that look at requests. None by default; each has its own setter.
        hooks: Hooks = Hooks::default(),
        /// Whether clients of protocol 3 are served too, as those of Socket.IO 2 are, and polls answered by scripts
        /// (JSONP) for old browsers. `false` by default. Old browsers let any page load such a script with the user's
        /// cookies, and do not say which page it is: where this is on, do not let a cookie alone admit a client. Node: `allowEIO3`; there,
        /// JSONP is always on for protocol 4.
        allow_eio3: bool = false,
        /// Whether and how messages on a WebSocket are compressed, for clients that offer it. `None` by default: they are
        /// not. Needs the cargo feature `compression`. Node: `perMessageDeflate`.
        per_message_deflate: Option<PerMessageDeflate> = None,
        /// Whether and how answers of long-polling are compressed. `None` by default: they are not; in Node they are.
        /// Needs the cargo feature `compression`. Node: `httpCompression`.
        http_compression: Option<HttpCompression> = None,
    }
}

impl EngineConfig {
    /// The options that the state machine of a session reads.
    pub(crate) fn timing(&self) -> Timing {
        let &Self { ping_interval, ping_timeout, upgrade_timeout, close_timeout, .. } = self;
        Timing { ping_interval, ping_timeout, upgrade_timeout, close_timeout }
    }

    /// The content of the open packet of a session that begins on this transport.
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
