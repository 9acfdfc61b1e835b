//! permessage-deflate on a WebSocket, and compressed answers of long-polling.
//!
//! Without the feature `compression` the same types are there and have no values, so that nobody else needs to
//! know of the feature, and nothing of it is left in the program.

pub(crate) mod options;

#[cfg(feature = "compression")]
mod codec;
#[cfg(feature = "compression")]
mod extension;
#[cfg(feature = "compression")]
mod http;
#[cfg(feature = "compression")]
mod message;
#[cfg(not(feature = "compression"))]
mod off;

#[cfg(feature = "compression")]
pub use self::http::{__encode_once, __preferred_coding};
#[cfg(all(feature = "compression", any(test, fuzzing)))]
pub(crate) use self::message::History;
#[cfg(feature = "compression")]
pub(crate) use self::{
    extension::Agreed,
    http::Wanted,
    message::{Deflate, Inflate, Slot},
};
#[cfg(not(feature = "compression"))]
pub use off::{__encode_once, __preferred_coding};
#[cfg(not(feature = "compression"))]
pub(crate) use off::{Agreed, Deflate, Inflate, Slot, Wanted};

use crate::config::EngineConfig;

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
