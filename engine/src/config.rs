//! The options of the Engine.IO layer, under the names of the Node.js server.

use std::time::Duration;

use crate::{
    HttpCompression, PerMessageDeflate, cookie::Cookie, cors::Cors, hooks::Hooks,
    proto::packet::TransportKind,
};

/// Defines a config struct from one table: each field with its type, its default and its documentation, and a
/// consuming setter of the same name. Not public API: `socketio` defines its own options with it.
#[doc(hidden)]
#[macro_export]
macro_rules! __config {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$doc:meta])* $field:ident: $type:ty = $default:expr, )* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct $name { $( $(#[$doc])* pub $field: $type, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $name {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, value: impl Into<$type>) -> Self {
                    self.$field = value.into();
                    self
                }
            )*
        }
    };
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
        /// The bytes that may wait for one client. 1 MiB by default; a client that lets more pile up is
        /// disconnected. A message is always taken when nothing else waits, whatever its size. Frames of a
        /// broadcast count for each recipient, though they exist once. Node has no limit.
        max_buffered: usize = 1024 * 1024,
        /// The transports that clients may use. Both by default. Node: `transports`.
        transports: Vec<TransportKind> = vec![TransportKind::Polling, TransportKind::WebSocket],
        /// Whether a polling session may be taken over by a WebSocket. `true` by default. Node: `allowUpgrades`,
        /// which there only hides the upgrade from well-behaved clients; here an upgrade is refused too.
        allow_upgrades: bool = true,
        /// Which web pages may connect, over every transport. Those of the server itself by default. Node: `cors`.
        cors: Cors = Cors::same_origin(),
        /// The cookie that a client gets with its session. None by default. Node: `cookie`.
        cookie: Option<Cookie> = None,
        /// Functions of the application that look at requests. None by default; each has its own setter.
        hooks: Hooks = Hooks::default(),
        /// Whether clients of protocol 3 are served too, as those of Socket.IO 2 are, and polls answered by scripts
        /// (JSONP) for old browsers. `false` by default. Any page can load such a script with the user's cookies and
        /// without an `Origin`: where this is on, do not let a cookie alone admit a client. Node: `allowEIO3`; there,
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
