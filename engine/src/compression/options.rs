//! The options of compression, under the names of the Node.js server.

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
