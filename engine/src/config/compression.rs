//! Compression options, under the names of the Node.js server.

use crate::config::engine::EngineConfig;

crate::__config! {
    /// Options of the WebSocket extension permessage-deflate (RFC 7692).
    ///
    /// Without context takeover, each message is compressed independently. The connection keeps no
    /// compression state, and a broadcast is compressed once for all recipients. With context takeover,
    /// messages that resemble earlier messages shrink further, but a broadcast is compressed separately for
    /// each recipient, and each direction of a connection uses up to 2^(window bits) bytes of memory: 32 KiB
    /// with 15 bits, 4 KiB with 12.
    ///
    /// By default, messages to the client are compressed without context takeover. For messages from the
    /// client, the client decides. Most browsers use context takeover, so a connection keeps the last 32 KiB
    /// of the compressed messages in memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::{EngineConfig, PerMessageDeflate};
    ///
    /// let config = EngineConfig::default()
    ///     .per_message_deflate(PerMessageDeflate::default().threshold(4096_usize));
    /// ```
    PerMessageDeflate {
        /// The minimum size of a message to be compressed, in bytes. Defaults to 1,024, because smaller
        /// messages hardly shrink without context takeover. Node.js calls this option `threshold`.
        threshold: usize = 1024,
        /// The compression level, from 1 (fastest) to 9 (smallest). Defaults to 6. Node.js calls this option
        /// `zlibDeflateOptions.level`.
        level: u32 = 6,
        /// `true` if messages to the client are compressed without context takeover. Defaults to `true`. In
        /// Node.js: `serverNoContextTakeover`, default `false`.
        server_no_context_takeover: bool = true,
        /// `true` if the client must compress its messages without context takeover, so that the server keeps
        /// no earlier messages in memory. Defaults to `false`: the client decides. Some versions of Safari do
        /// not support the parameter, and their connections fail. Node.js calls this option
        /// `clientNoContextTakeover`.
        client_no_context_takeover: bool = false,
        /// The base-two logarithm of the window size for messages to the client, from 9 to 15. Defaults to
        /// 15. Node.js calls this option `serverMaxWindowBits`.
        server_max_window_bits: u8 = 15,
        /// The base-two logarithm of the window size for messages from the client, from 9 to 15. Defaults to
        /// 15. With a smaller window, a client that does not support the parameter must compress without
        /// context takeover. Node.js calls this option `clientMaxWindowBits`.
        client_max_window_bits: u8 = 15,
    }
}

crate::__config! {
    /// Options for compressing long-polling responses with gzip, deflate or br. The client chooses the
    /// coding; gzip is used if it has no preference. `socketio` also compresses the client bundles, once for
    /// all clients.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::{EngineConfig, HttpCompression};
    ///
    /// let config = EngineConfig::default().http_compression(HttpCompression::default());
    /// ```
    HttpCompression {
        /// The minimum size of a response to be compressed, in bytes. Defaults to 1,024. Node.js calls this
        /// option `threshold`.
        threshold: usize = 1024,
        /// The compression level of gzip and deflate, from 1 (fastest) to 9 (smallest). Defaults to 6.
        /// Node.js calls this option `level`.
        level: u32 = 6,
    }
}

/// Checks the compression options.
///
/// # Panics
///
/// Panics if a level or a window is invalid.
#[track_caller]
pub(crate) fn check(config: &EngineConfig) {
    if let Some(options) = &config.per_message_deflate {
        assert!(options.level <= 9, "the level of per_message_deflate must be 0 to 9");
        for bits in [options.server_max_window_bits, options.client_max_window_bits] {
            assert!((9..=15).contains(&bits), "the window bits of per_message_deflate must be 9 to 15");
        }
    }
    if let Some(options) = &config.http_compression {
        assert!(options.level <= 9, "the level of http_compression must be 0 to 9");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpCompression, PerMessageDeflate};

    fn panics(config: &EngineConfig) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(config))).is_err()
    }

    #[test]
    fn levels_and_windows_must_exist() {
        let deflate = PerMessageDeflate::default;
        for options in [
            deflate().level(10_u32),
            deflate().server_max_window_bits(8),
            deflate().server_max_window_bits(16),
            deflate().client_max_window_bits(8),
        ] {
            assert!(panics(&EngineConfig::default().per_message_deflate(options)));
        }
        let http = HttpCompression::default().level(10_u32);
        assert!(panics(&EngineConfig::default().http_compression(http)));
    }
}
