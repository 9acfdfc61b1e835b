//! The options of compression, under the names of the Node.js server.

use crate::config::engine::EngineConfig;

crate::__config! {
    /// How messages on a WebSocket are compressed: the extension permessage-deflate, RFC 7692.
    ///
    /// Without context takeover, each message is compressed by itself: a connection holds no memory for it, and a
    /// broadcast is compressed once for all its recipients. With it, messages that resemble earlier ones shrink further,
    /// but each recipient costs a compression of its own, and each direction up to 2^window bits bytes of memory: 32 KiB
    /// with 15 bits, 4 KiB with 12.
    ///
    /// By default, there is none for messages to the client. For those that it sends, the client decides: most browsers
    /// use it, so a connection keeps the last 32 KiB of the messages that were compressed.
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
        /// The smallest message that is compressed, in bytes. 1,024 by default: smaller ones hardly shrink by
        /// themselves. Node: `threshold`.
        threshold: usize = 1024,
        /// From 1, the fastest, to 9, the smallest. 6 by default. Node: `zlibDeflateOptions.level`.
        level: u32 = 6,
        /// Whether messages to the client are compressed without regard to earlier ones. `true` by default. Node:
        /// `serverNoContextTakeover`, `false` there.
        server_no_context_takeover: bool = true,
        /// Whether the client must compress its messages without regard to earlier ones, so that the server keeps none of
        /// them. `false` by default: then that is up to the client. Some versions of Safari do not know that they may be
        /// asked, and their connections fail. Node: `clientNoContextTakeover`.
        client_no_context_takeover: bool = false,
        /// How far back a message to the client may refer, as a power of two: 9 to 15, the default. Node:
        /// `serverMaxWindowBits`.
        server_max_window_bits: u8 = 15,
        /// How far back a message of the client may refer, as a power of two: 9 to 15, the default. A client that
        /// cannot be told so has to do without context takeover. Node: `clientMaxWindowBits`.
        client_max_window_bits: u8 = 15,
    }
}

crate::__config! {
    /// How answers of long-polling are compressed: with gzip, deflate or br, whichever the client likes best, gzip
    /// if it does not care. `socketio` compresses the bundles of the client too, once for all who ask.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::{EngineConfig, HttpCompression};
    ///
    /// let config = EngineConfig::default().http_compression(HttpCompression::default());
    /// ```
    HttpCompression {
        /// The smallest answer that is compressed, in bytes. 1,024 by default. Node: `threshold`.
        threshold: usize = 1024,
        /// From 1, the fastest, to 9, the smallest, of gzip and deflate. 6 by default. Node: `level`.
        level: u32 = 6,
    }
}

/// Checks the options that concern compression.
///
/// # Panics
///
/// Panics if compression is asked for without the feature, or with a level or window that does not exist.
#[track_caller]
pub(crate) fn check(config: &EngineConfig) {
    let asked = config.per_message_deflate.is_some() || config.http_compression.is_some();
    assert!(
        cfg!(feature = "compression") || !asked,
        "per_message_deflate and http_compression need the cargo feature `compression`"
    );
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
    fn without_the_feature_it_cannot_be_asked_for() {
        let off = !cfg!(feature = "compression");
        assert!(!panics(&EngineConfig::default()));
        assert_eq!(panics(&EngineConfig::default().per_message_deflate(PerMessageDeflate::default())), off);
        assert_eq!(panics(&EngineConfig::default().http_compression(HttpCompression::default())), off);
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
